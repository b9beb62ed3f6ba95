"""Writing to clients: straight to their sockets, all that came for one at once, without a greenlet.

python-engineio has a greenlet for each client that waits for packets to write, and one that waits
for the time of its next ping: three with the one that reads, at 20 KB and more each.
"""

from __future__ import annotations

import inspect
import time
from typing import Any

from engineio import exceptions, packet, socket

from socket_server.connection.bounded_websocket import framed
from socket_server.connection.nonblocking_websocket import KeptOpen, Line
from socket_server.connection.send_queue import HANDED_OUT

__all__ = ["Clients", "DirectSocket", "Ended", "socket_of_writer"]

#: Bytes that are written at once, and held while the client takes only a part of them. What waits
#: behind them can still be replaced by what is newer.
PIECE = 16 * 1024
#: Times that is written to a client before others have their turn.
WRITES = 4


class Clients(dict[str, Any]):
    """An engine's sockets; each that comes in writes directly."""

    def __setitem__(self, sid: str, client: Any) -> None:
        client.__class__ = DirectSocket
        client.server.writer.start()
        super().__setitem__(sid, client)


class DirectSocket(socket.Socket):
    """An Engine.IO socket that, once it is a WebSocket, has no greenlet that writes.

    What is sent waits in its queue until the server's writer comes by, which is at the end of the
    turn of whoever sent it. Only while the client takes nothing has it a greenlet that waits.
    """

    #: Whether it is a WebSocket that is written to directly.
    direct = False
    #: Whether the writer will come by, and whether the client takes nothing at the moment.
    marked = blocked = False
    last_ping: float | None
    #: Whether nothing comes after what was taken from the queue.
    _ends = False
    _line: Line | None = None

    @property
    def has_line(self) -> bool:
        """Whether it can be written to directly."""
        return self._line is not None

    def _websocket_handler(self, websocket: Any) -> Any:
        self._line = Line.of(websocket)
        try:
            return super()._websocket_handler(KeptOpen(websocket) if self._line else websocket)
        finally:
            self.direct, self._line = False, None

    def poll(self) -> list[Any]:
        """Return what waits for the client; nothing to what would write it, which is over then."""
        if self._line is None or not self.upgraded:
            packets: list[Any] = super().poll()
            return packets
        self.direct = True
        self.queue.each(framed)
        # Nobody gets from it any more, nor waits to put something into it.
        self.queue.getters = self.queue.putters = frozenset()
        self.server.writer.mark(self)
        return []

    def send(self, pkt: Any) -> None:
        """Send a packet; see ``engineio.Socket``."""
        if not self.direct:
            super().send(pkt)
        elif self.closed:
            raise exceptions.SocketIsClosedError()
        else:
            self.offer(pkt)

    def offer(self, pkt: Any) -> None:
        """Send a packet to a client that is not closed."""
        if not self.direct:
            self.queue.put(pkt)
            return
        queue = self.queue
        queue.put_frame(framed(pkt))
        if not self.marked:
            self.server.writer.mark(self)
        if queue.size >= PIECE and not self.blocked:
            self.flush()

    def close(self, *args: Any, **options: Any) -> None:
        """Close; see ``engineio.Socket``."""
        super().close(*args, **options)
        if self.direct and not self.marked:
            self.server.writer.mark(self)  # it takes the end out of the queue

    def schedule_ping(self) -> None:
        """Ping after a while, unless that is going on; see ``engineio.Socket``."""
        if self.last_ping:
            self.last_ping = None
            self.server.writer.ping_later(self)

    def ping(self) -> None:
        """Ping now."""
        if not self.closing and not self.closed:
            self.last_ping = time.time()
            self.send(packet.Packet(packet.PING))

    def flush(self) -> None:
        """Write what waits, as much as the client takes and is its due."""
        self.marked = False
        queue = self.queue
        for _ in range(WRITES):
            if not (self.direct and not self.blocked and queue.queue):
                return
            # As a rule, one frame.
            alone = queue.take_only() if len(queue.queue) == 1 else None
            if not self._write(alone or self._take(PIECE)):
                self.blocked = True
                self.server.start_background_task(self._push)
        if queue.queue and not self.marked:
            self.server.writer.mark(self)

    def _take(self, most: int) -> bytes:
        """Return bytes of the frames that wait; see ``Backlog.take``."""
        try:
            taken, ends = self.queue.take(most)
        except OSError:  # of an answer, the rest is not held any more
            taken, ends = [], True
        self._ends = self._ends or ends
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def _write(self, data: bytes) -> bool:
        try:
            there = self._line.write(data)  # type: ignore[union-attr]
        except OSError:
            there = self._ends = True
        if there and self._ends:
            self._hang_up()
        return there

    def _push(self) -> None:
        """Write to a client that takes no more at once, and wait until it does."""
        try:
            while self._line and self.direct:
                self.queue.begin()
                self._line.finish()
                self.queue.end()
                if not (self.queue.queue and not self._ends):
                    break
                self._line.write(self._take(HANDED_OUT))
        except OSError:
            self._ends = True
        self.blocked = False
        if self._ends:
            self._hang_up()

    def _hang_up(self) -> None:
        self.direct = False
        if self._line:
            # Not here: it says goodbye, for which a client that reads nothing has no room.
            self.server.start_background_task(self._line.close)


def socket_of_writer(task: Any) -> DirectSocket | None:
    """Return whose writer a background task is, if it is one for which there is nothing to do."""
    if getattr(task, "__qualname__", "") != "Socket._websocket_handler.<locals>.writer":
        return None
    one = inspect.getclosurevars(task).nonlocals["self"]
    return one if isinstance(one, DirectSocket) and one.has_line else None


class Ended:
    """Stands for a background task that is over."""

    @staticmethod
    def join() -> None:
        """Return at once."""
