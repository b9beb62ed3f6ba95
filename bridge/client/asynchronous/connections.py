"""``Connections``: the connections on which a bridge's watches are, by event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.client.status import Service

if TYPE_CHECKING:
    from bridge.client.asynchronous.connection import SharedConnection

__all__ = ["Connections"]


class Connections:
    """The open connections of a bridge. Those of one event loop serve no other.

    Args:
        bridge: the bridge.
    """

    def __init__(self, bridge: Service) -> None:
        self.bridge = bridge
        self._open: dict[asyncio.AbstractEventLoop, list[SharedConnection]] = {}

    def of(self, job: str, shard: int | None) -> SharedConnection:
        """Return the running loop's connection for a job, a new one if no other takes it.

        Args:
            job: id of the job.
            shard: its shard; None if there is only one.
        """
        from bridge.client.asynchronous.connection import SharedConnection

        for loop in [one for one in self._open if one.is_closed()]:
            del self._open[loop]
        ours = self._open.setdefault(asyncio.get_running_loop(), [])
        for connection in ours:
            if connection.shard == shard and connection.takes(job):
                return connection
        ours.append(SharedConnection(self.bridge, shard, self._forget))
        return ours[-1]

    def _forget(self, connection: SharedConnection) -> None:
        loop = asyncio.get_running_loop()
        ours = self._open.get(loop, [])
        if connection in ours:
            ours.remove(connection)
        if not ours:
            self._open.pop(loop, None)
