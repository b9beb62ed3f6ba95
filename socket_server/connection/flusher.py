"""The writer of an Engine.IO server: flushes the send queues of direct sockets, and pings them."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from bridge.untyped import EngineIOServer
from socket_server.concurrency.hub import Hub

if TYPE_CHECKING:
    from socket_server.connection.direct_socket import DirectSocket

__all__ = ["Flusher"]

#: Seconds of writing before other greenlets run, and clients between two looks at the clock.
TURN, CLIENTS_AT_ONCE = 0.002, 10
#: Seconds between two checks for pings that are due.
PING_TICK = 0.25


class Flusher:
    """Writes queued frames to all clients of a server, and sends them pings.

    Args:
        engine: an ``engineio.Server``.
        hub: the event loop of its async mode.
    """

    def __init__(self, engine: EngineIOServer, hub: Hub) -> None:
        self._engine, self.hub = engine, hub
        self._marked: list[DirectSocket] = []
        self._pings: deque[tuple[float, DirectSocket]] = deque()
        self._awake = self._started = False

    def mark(self, client: DirectSocket) -> None:
        """Schedule a flush of this client for when the running greenlet yields."""
        client.marked = True
        self._marked.append(client)
        if not self._awake:
            self._awake = True
            self.hub.call_soon(self._write)

    def start(self) -> None:
        """Start the background task that pings, if it is not running."""
        if not self._started:
            self._started = True
            self._engine.start_background_task(self._ping)

    # Called by the hub itself, without a greenlet switch: nothing in it blocks.
    def _write(self) -> None:
        marked, self._marked = self._marked, []
        deadline, written = time.monotonic() + TURN, 0
        try:
            while written < len(marked) and time.monotonic() < deadline:
                some = marked[written : written + CLIENTS_AT_ONCE]
                written += len(some)
                for client in some:
                    client.flush()
        finally:
            # Clients that are left, and clients that were marked meanwhile.
            self._marked = marked[written:] + self._marked
            self._awake = bool(self._marked)
            if self._awake:
                self.hub.call_later(0, self._write)

    def ping_later(self, client: DirectSocket) -> None:
        """Ping a client after the server's ping interval."""
        self._pings.append((time.monotonic() + self._engine.ping_interval, client))

    def _ping(self) -> None:
        while True:
            self._engine.sleep(PING_TICK)
            now = time.monotonic()
            while self._pings and self._pings[0][0] <= now:
                self._pings.popleft()[1].ping()
