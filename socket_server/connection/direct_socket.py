"""Engine.IO sockets that write to their clients directly, without greenlets of their own.

python-engineio runs three greenlets for each client, at 20 KB and more each: one reads, one waits
for packets to write, and one waits for the time of the next ping.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable

from engineio import exceptions, packet, socket

from bridge.untyped import WebSocket
from socket_server.connection.nonblocking_websocket import KeptOpen, NonBlockingWebSocket
from socket_server.connection.send_queue import HANDED_OUT
from socket_server.connection.shared_packet import framed

__all__ = ["DirectSocket", "DirectSockets", "EndedTask", "socket_of_writer"]

#: Bytes that are written at once, and held while the client takes only a part of them. Events in
#: the send queue behind them can still be replaced by newer ones.
PIECE = 16 * 1024
#: Writes to one client before other clients are served.
WRITES = 4


class DirectSockets(dict[str, "DirectSocket"]):
    """An Engine.IO server's sockets by session id; a socket becomes a DirectSocket when added."""

    def __setitem__(self, sid: str, client: socket.Socket) -> None:
        client.__class__ = DirectSocket
        client.server.writer.start()
        super().__setitem__(sid, client)


class DirectSocket(socket.Socket):
    """An Engine.IO socket that, once it is a WebSocket, has no greenlet that writes.

    Packets wait in its send queue until the server's writer flushes it, when the sending greenlet
    yields, or until ``PIECE`` bytes wait. Only while the client does not take all bytes at once
    does a greenlet wait for it.
    """

    #: Whether packets are written directly, as they are once the client's WebSocket is set up.
    direct = False
    #: Whether a flush by the writer is due, and whether a greenlet waits for the client to read.
    marked = blocked = False
    last_ping: float | None
    #: Whether the connection is to be closed after the bytes taken from the queue.
    _ends = False
    _line: NonBlockingWebSocket | None = None

    @property
    def has_line(self) -> bool:
        """Whether the client's WebSocket can be written to directly."""
        return self._line is not None

    def _websocket_handler(self, websocket: WebSocket) -> Iterable[bytes]:
        self._line = NonBlockingWebSocket.of(websocket, self.server.writer.hub)
        try:
            line = KeptOpen(websocket) if self._line else websocket
            answer: Iterable[bytes] = super()._websocket_handler(line)
            return answer
        finally:
            self.direct, self._line = False, None

    def poll(self) -> list[packet.Packet]:
        """Return queued packets; [] for a direct WebSocket, to end python-engineio's writer."""
        if self._line is None or not self.upgraded:
            packets: list[packet.Packet] = super().poll()
            return packets
        self.direct = True
        self.queue.each(framed)
        self.server.writer.hub.forget_waiters(self.queue)
        self.server.writer.mark(self)
        return []

    def send(self, pkt: packet.Packet) -> None:
        """Send a packet; see ``engineio.Socket``."""
        if not self.direct:
            super().send(pkt)
        elif self.closed:
            raise exceptions.SocketIsClosedError()
        else:
            self.offer(pkt)

    def offer(self, pkt: packet.Packet) -> None:
        """Send a packet; the socket must not be closed."""
        if not self.direct:
            self.queue.put(pkt)
            return
        queue = self.queue
        queue.put_frame(framed(pkt))
        if not self.marked:
            self.server.writer.mark(self)
        if queue.size >= PIECE and not self.blocked:
            self.flush()

    def close(self, *args: object, **options: object) -> None:
        """Close; see ``engineio.Socket``."""
        super().close(*args, **options)
        if self.direct and not self.marked:
            self.server.writer.mark(self)  # its flush reaches the end of the queue and hangs up

    def schedule_ping(self) -> None:
        """Schedule the next ping unless one is scheduled; see ``engineio.Socket``."""
        if self.last_ping:
            self.last_ping = None
            self.server.writer.ping_later(self)

    def ping(self) -> None:
        """Send a ping."""
        if not self.closing and not self.closed:
            self.last_ping = time.time()
            self.send(packet.Packet(packet.PING))

    def flush(self) -> None:
        """Write queued frames as far as the client takes them, at most ``WRITES`` times."""
        self.marked = False
        queue = self.queue
        for _ in range(WRITES):
            if not (self.direct and not self.blocked and queue.queue):
                return
            # The usual case: one frame, which needs no join.
            alone = queue.take_only() if len(queue.queue) == 1 else None
            if not self._write(alone or self._take(PIECE)):
                self.blocked = True
                self.server.start_background_task(self._push)
        if queue.queue and not self.marked:
            self.server.writer.mark(self)

    def _take(self, most: int) -> bytes:
        """Return bytes of queued frames; see ``SendQueue.take``."""
        try:
            taken, ends = self.queue.take(most)
        except OSError:  # the journal has dropped the rest of an answer
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
        """Write to a client that reads slowly, waiting for it; runs in a greenlet of its own."""
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
            # In the background: the closing frame waits while the client reads nothing.
            self.server.start_background_task(self._line.close)


def socket_of_writer(task: Callable[..., object]) -> DirectSocket | None:
    """Return the direct socket of which a background task is the (needless) writer; else None."""
    if getattr(task, "__qualname__", "") != "Socket._websocket_handler.<locals>.writer":
        return None
    one = inspect.getclosurevars(task).nonlocals["self"]
    return one if isinstance(one, DirectSocket) and one.has_line else None


class EndedTask:
    """A background task that has ended."""

    @staticmethod
    def join() -> None:
        """Return at once."""
