"""``AsyncWatcher``: iterates over one job's events in an event loop, across reconnects."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bridge import extras
from bridge.client.asynchronous.connections import Connections
from bridge.client.asynchronous.subscription import Subscription
from bridge.client.status import Service, shard_of_job
from bridge.client.watch_state import Message, WatchState
from bridge.errors import ServerUnavailable
from bridge.protocol.json_types import JobEvent

if TYPE_CHECKING:
    from bridge.client.asynchronous.connection import SharedConnection

__all__ = ["AsyncWatcher"]

#: Most events that an iteration yields before other tasks of the event loop have their turn.
TURN = 8
#: Set once the modules of connections are imported: an import in the event loop would hold it up,
#: and so would one that waits for the same import in a thread.
_IMPORTED = threading.Event()


class AsyncWatcher(WatchState):
    """Iterate with ``async for`` to get each event of a job, once, in order, until its end.

    Watches of an event loop share connections. A watch that is left early (``break``, a
    cancellation, :meth:`aclose`) leaves nothing behind.

    Args:
        connections: the open connections of the bridge.
        job: id of the job.
        timeout: seconds without a connection after which to give up; None means never.
        cursor: cursor to resume from; None means the beginning.
    """

    def __init__(
        self,
        connections: Connections,
        job: str,
        *,
        timeout: float | None = None,
        cursor: str | None = None,
    ) -> None:
        super().__init__(job, cursor, timeout)
        self._connections = connections
        self._place: tuple[SharedConnection, Subscription] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection to a server."""
        return self._place is not None and self._place[1].is_connected

    @property
    def why(self) -> str:
        """Why there is no connection, in one sentence; empty if there is one, or was none yet."""
        return "" if self._place is None or self.connected else self._place[1].why

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop watching, and end an iteration that waits; the job goes on."""
        if self._place is not None:
            connection, subscription = self._place
            subscription.end()
            await connection.leave(subscription)

    def __aiter__(self) -> AsyncGenerator[JobEvent, None]:
        """Return an iteration over events as JSON objects, with their ``cursor``.

        Raises:
            (when iterated) what an iteration over :class:`bridge.Watcher` raises.
        """
        return self._events()

    async def _events(self) -> AsyncGenerator[JobEvent, None]:
        connection, subscription = self._place = await self._join()
        count = 0
        try:
            while not self.snapshot.ended and (message := await self._next(subscription)):
                for event in await self._taken(message):
                    yield event
                    count += 1
                    if count % TURN == 0:
                        await asyncio.sleep(0)
        finally:
            await connection.leave(subscription)

    async def _join(self) -> tuple[SharedConnection, Subscription]:
        job = self.snapshot.job
        await self._connections.turn()
        shard = await _shard(self._connections.bridge, job)
        connection = self._connections.of(job, shard)
        return connection, connection.join(job, self._request)

    async def _next(self, subscription: Subscription) -> Message | None:
        """Return the next message, giving up when there was no connection for too long."""
        self._outage.end()
        while not subscription:
            self._outage.end() if subscription.is_connected else self._outage.begin()
            try:
                async with asyncio.timeout(self._outage.left):
                    await subscription.wait()
            except TimeoutError:
                raise ServerUnavailable(subscription.why) from None
        return subscription.take()

    async def _taken(self, message: Message) -> Iterable[JobEvent]:
        """Return the new events of a message."""
        match message:
            case "refused", error:
                raise error
            case "job", event:
                return [event] if self._fold(event) else []
            case "watch", answer if answer.get("ok"):
                return self._start(answer)
            case "watch", answer:
                await asyncio.sleep(self._refused(answer.get("error", {})))
        return []


async def _shard(bridge: Service, job: str) -> int | None:
    """Return the shard of a job; None if there is only one. What a connection needs is imported."""
    if not _IMPORTED.is_set():
        await asyncio.to_thread(_import)
    return (
        await asyncio.to_thread(shard_of_job, bridge, job) if bridge.settings.shards > 1 else None
    )


def _import() -> None:
    extras.demand("asyncio")
    from bridge.client.asynchronous import connection  # noqa: F401

    _IMPORTED.set()
