"""Sockets of clients: how much is read at a time, and for how long a write may wait."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sized
from socket import SHUT_RDWR, socket
from typing import Protocol
from wsgiref.types import StartResponse, WSGIEnvironment

from bridge.untyped import WebSocket
from socket_server.concurrency.wsgi import CONNECTION
from socket_server.connection.send_queue import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
)
from socket_server.observability.metrics import hit

__all__ = ["BOUNDED", "BoundedSocket", "PacedSocket", "TooLarge", "WSGIObject", "bound"]

#: Reads after which other greenlets run; a small frame takes two or three.
READS = 16
#: Messages that simple-websocket's thread may read before the handler takes them.
READ_AHEAD = 4
#: Key of a connection's :class:`BoundedSocket` in its WSGI environment; None without access to it.
BOUNDED = "taskbridge.socket"


#: Keys under which WSGI servers put a connection's socket: the server's own, and those of others in
#: the order in which simple-websocket looks for them.
SOCKETS = (CONNECTION, "werkzeug.socket", "gunicorn.socket")
#: Checks with no message waiting before the bytes read count as one message that is too large: the
#: handler may have taken the last message without having called ``complete`` yet.
PATIENCE = 25


class WSGIObject(Protocol):
    """A WSGI application; an object, since a call of its ``__call__`` keeps less of the stack."""

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, /
    ) -> Iterable[bytes]:
        """Answer a request; see PEP 3333."""


class TooLarge(OSError):
    """A message is larger than the server reads."""


class BoundedSocket:
    """A socket that limits the bytes read for one message, fragments and control frames included.

    Args:
        socket: the connection's socket.
        most: bytes that may be read before a message is complete.
        sleep: sleep function of the async mode, in seconds.
    """

    def __init__(self, socket: socket, most: int, sleep: Callable[[float], object]) -> None:
        self._socket, self._most, self._sleep = socket, most, sleep
        self.received = 0
        self._reads = 0
        self._is_shut = False

    def complete(self) -> None:
        """Reset the count of bytes: the handler has taken a message."""
        self.received = 0

    def shut(self) -> None:
        """End the connection at once; data already received is not read any more."""
        self._is_shut = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)

    def recv(self, size: int) -> bytes:
        """Read; see ``socket.recv``.

        Raises:
            TooLarge: more bytes were read than one message may have.
        """
        data = self._recv(size)
        self.count(0)
        # Reads of data that has arrived already do not wait, so other greenlets would never run.
        self._reads += 1
        if self._reads % READS == 0:
            self._sleep(0)
        return data

    def count(self, size: int) -> None:
        """Count bytes that were read.

        Raises:
            TooLarge: they are more than one message may have.
        """
        self.received += size
        if self.received > self._most:
            self._refuse()

    def _recv(self, size: int) -> bytes:
        data = b"" if self._is_shut else self._socket.recv(size)
        self.received += len(data)
        return data

    def _refuse(self) -> None:
        hit("max_message")
        raise TooLarge("a message is too large")

    def stuck(self) -> float:
        """Return 0.0: writes to this socket are not timed."""
        return 0.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._socket, name)


class PacedSocket(BoundedSocket):
    """A bounded socket for simple-websocket, whose thread would otherwise read without a limit.

    That thread waits in :meth:`recv` while ``READ_AHEAD`` messages, or more bytes than one message
    may have, were read and the handler has not taken them.
    """

    #: Messages that were read and that the handler has not taken yet.
    unread: Sized = ()
    #: What the handler waits for: a message, or the end of the connection.
    news: threading.Event | None = None
    #: Monotonic time in seconds at which the current write began; None between writes.
    _sending: float | None = None

    def watch(self, websocket: WebSocket) -> None:
        """Get the list of unread messages, and the event of the handler, of a simple-websocket."""
        self.unread, self.news = websocket.input_buffer, websocket.event

    def close(self) -> None:
        """Close the socket, and wake the handler, which may wait for a message.

        Before it closes a socket whose message is too large, simple-websocket wakes the handler too
        early: it waits again, and would occupy its thread for ever.
        """
        self._socket.close()
        if self.news is not None:
            self.news.set()

    def complete(self) -> None:
        """Reset the count of bytes if the handler has taken all messages."""
        if not self.unread:
            self.received = 0

    def recv(self, size: int) -> bytes:
        """Wait until few messages are unread, then read; see ``socket.recv``.

        Raises:
            TooLarge: more bytes were read than one message may have.
        """
        pause, patience = FIRST_PAUSE, PATIENCE
        while self._is_ahead() and not self._is_shut:
            patience -= not self.unread
            if patience < 0:
                self._refuse()
            self._sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
        return self._recv(size)

    def _is_ahead(self) -> bool:
        return len(self.unread) >= READ_AHEAD or self.received > self._most

    def send(self, data: bytes) -> int:
        """Write all of ``data``: gevent's ``socket.send`` may write only a part of it."""
        self._sending = time.monotonic()
        try:
            self._socket.sendall(data)
        finally:
            self._sending = None
        return len(data)

    def stuck(self) -> float:
        """Return the seconds that the current write has taken so far; 0.0 between writes."""
        since = self._sending
        return 0.0 if since is None else time.monotonic() - since


def bound(
    environ: WSGIEnvironment, most: int, sleep: Callable[[float], object]
) -> BoundedSocket | None:
    """Replace a connection's socket by a bounded one, and return it; None without access to one."""
    place = next((name for name in SOCKETS if name in environ), None)
    if place is None:
        return None
    source = environ[place]
    kind = BoundedSocket if place == CONNECTION else PacedSocket
    bounded = environ[place] = kind(source, most, sleep)
    return bounded
