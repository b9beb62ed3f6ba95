"""``Connections``: the connections on which a bridge's watches are, by event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from bridge.client.asynchronous.connection import SharedConnection
    from bridge.client.asynchronous.turns import Turns
    from bridge.client.status import Service

__all__ = ["Connections"]


class Connections:
    """The open connections of a bridge. Those of one event loop serve no other.

    Args:
        bridge: the bridge.
    """

    def __init__(self, bridge: Service) -> None:
        self.bridge = bridge
        self._open: dict[asyncio.AbstractEventLoop, list[SharedConnection]] = {}
        self._turns: Turns | None = None

    async def turn(self) -> None:
        """Wait for a turn of the event loop in which not too many watches begin."""
        from bridge.client.asynchronous.turns import Turns

        self._turns = self._turns or Turns()
        await self._turns.wait()

    def of(self, job: str, shard: int | None) -> SharedConnection:
        """Return the running loop's connection for a job, a new one if no other takes it.

        Args:
            job: id of the job.
            shard: its shard; None if there is only one.
        """
        # Here, since asyncio takes as long to import as all that a service needs without it.
        import asyncio

        from bridge.client.asynchronous.connection import SharedConnection

        for old in list(self._open):  # other threads have loops, too
            if old.is_closed():
                self._open.pop(old, None)
        loop = asyncio.get_running_loop()
        ours = self._open.setdefault(loop, [])
        for connection in ours:
            if connection.shard == shard and connection.takes(job):
                return connection
        ours.append(SharedConnection(self.bridge, shard, lambda one: self._forget(loop, one)))
        return ours[-1]

    def _forget(self, loop: asyncio.AbstractEventLoop, connection: SharedConnection) -> None:
        ours = self._open.get(loop, [])
        if connection in ours:
            ours.remove(connection)
        if not ours:
            self._open.pop(loop, None)
