"""Writing to clients: straight to their sockets, all that came for one at once, without a greenlet.

python-engineio has a greenlet for each client that waits for packets to write, and one that waits
for the time of its next ping: three with the one that reads, at 20 KB and more each.
"""

from __future__ import annotations

import _socket
import contextlib
import inspect
import time
from collections import deque
from typing import Any

from engineio import exceptions, packet, socket

from socket_server.backlog import HANDED_OUT
from socket_server.wire import framed

__all__ = ["Clients", "DirectSocket", "Ended", "Line", "Writer", "socket_of_writer"]

#: Bytes that are written at once. What waits behind them can still be replaced by what is newer.
PIECE = 32 * 1024
#: Clients that are written to before others have their turn.
CLIENTS_AT_ONCE = 100
#: Seconds between two looks at whose ping is due.
PING_TICK = 0.25


class Writer:
    """Writes what waits for clients, and pings them, for all of them.

    Args:
        engine: an ``engineio.Server`` on eventlet.
    """

    def __init__(self, engine: Any) -> None:
        from eventlet.hubs import get_hub

        self._engine, self._hub = engine, get_hub
        self._marked: list[DirectSocket] = []
        self._pings: deque[tuple[float, DirectSocket]] = deque()
        self._awake = self._started = False

    def mark(self, client: DirectSocket) -> None:
        """Write to this client when whoever runs now waits for something."""
        client.marked = True
        self._marked.append(client)
        if not self._awake:
            self._awake = True
            self._hub().schedule_call_global(0, self._write)

    def start(self) -> None:
        """Begin to ping, if that has not been done."""
        if not self._started:
            self._started = True
            self._engine.start_background_task(self._ping)

    # By the hub itself, without a switch to a greenlet: nothing of it waits.
    def _write(self) -> None:
        marked, self._marked = self._marked[:CLIENTS_AT_ONCE], self._marked[CLIENTS_AT_ONCE:]
        if self._marked:
            self._hub().schedule_call_global(0, self._write)
        else:
            self._awake = False
        for client in marked:
            client.flush()

    def ping_later(self, client: DirectSocket) -> None:
        """Ping a client after the server's interval."""
        self._pings.append((time.monotonic() + self._engine.ping_interval, client))

    def _ping(self) -> None:
        while True:
            self._engine.sleep(PING_TICK)
            now = time.monotonic()
            while self._pings and self._pings[0][0] <= now:
                self._pings.popleft()[1].ping()


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
        """Write what waits, as much as the client takes."""
        self.marked = False
        while self.direct and not self.blocked and self.queue.queue:
            if not self._write(self._take(PIECE)):
                self.blocked = True
                self.server.start_background_task(self._push)

    def _take(self, most: int) -> bytes:
        """Return the frames that wait, up to so many bytes and the last of them."""
        frames = self.queue.take(most)
        if frames and frames[-1] is None:
            self._ends = frames.pop() is None
        return frames[0].data if len(frames) == 1 else b"".join([one.data for one in frames])

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


class Line:
    """A WebSocket's connection, written to as far as it takes it at once.

    Args:
        websocket: of eventlet.
        plain: its socket, which does not wait.
    """

    def __init__(self, websocket: Any, plain: Any) -> None:
        self._websocket, self._send = websocket, plain.send
        websocket._msgs = ()  # of a protocol from before the standard; over half a kilobyte
        self._lock = websocket._sendlock
        self._rest, self._held = b"", False

    @classmethod
    def of(cls, websocket: Any) -> Line | None:
        """Return the line of a WebSocket; None if it is encrypted, or of another mode."""
        plain = getattr(getattr(websocket, "socket", None), "fd", None)
        # Not where it is encrypted: that socket is of a class below socket.socket.
        is_plain = type(plain).__bases__ == (_socket.socket,)
        return cls(websocket, plain) if is_plain and hasattr(websocket, "_sendlock") else None

    def write(self, data: bytes) -> bool:
        """Write frames; whether all were taken, else ``finish`` writes what was not.

        Raises:
            OSError: the connection has ended.
        """
        if self._lock.counter <= 0:  # eventlet answers a ping, and waits in the middle of a frame
            self._rest = data
            return False
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent == len(data):
            return True
        self._held = self._lock.acquire()
        self._rest = data[sent:]
        return False

    def finish(self) -> None:
        """Write what was not taken, and wait for that.

        Raises:
            OSError: the connection has ended.
        """
        if not self._rest:
            return
        if not self._held:
            self._lock.acquire()
        try:
            self._websocket.socket.sendall(self._rest)
        finally:
            self._rest, self._held = b"", False
            self._lock.release()

    def close(self) -> None:
        """Say goodbye, and end the connection."""
        with contextlib.suppress(OSError):
            self._websocket.close()


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


class KeptOpen:
    """A WebSocket that does not end with python-engineio's writer.

    Args:
        websocket: it.
    """

    __slots__ = ("_websocket",)

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    def close(self) -> None:
        """Do nothing: the writer ends at once."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._websocket, name)
