"""WebSocket wrappers that limit what is read from a client: message size and rate."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Hashable, Iterable, Sequence, Sized
from socket import SHUT_RDWR, socket
from typing import Protocol, TypeAlias
from wsgiref.types import StartResponse, WSGIEnvironment

from engineio import packet
from simple_websocket import ConnectionClosed
from wsproto.utilities import ProtocolError

from bridge.settings import Settings
from bridge.untyped import EngineIOServer, WebSocket
from socket_server.connection.send_queue import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Frame,
    Queued,
    SendQueue,
)
from socket_server.limits.token_bucket import Bucket
from socket_server.messages.answer import Answer
from socket_server.messages.websocket_frame import BINARY, frame
from socket_server.observability.metrics import hit

__all__ = [
    "BOUNDED",
    "FIRST",
    "UPGRADED",
    "Shared",
    "WSGIObject",
    "WebSocketClass",
    "are_packets",
    "bounded_websocket_class",
    "framed",
    "is_packet",
    "unmask",
]

#: Key of a connection's :class:`BoundedSocket` in its WSGI environment; None without access to it.
BOUNDED = "taskbridge.socket"
#: Keys under which WSGI servers put a connection's socket, in the order in which simple-websocket
#: looks for it. eventlet's input wraps its socket; under gunicorn, python-engineio adds one too.
EVENTLET = "eventlet.input"
SOCKETS = ("werkzeug.socket", "gunicorn.socket", EVENTLET)
#: Key of the environment of a session's first request, in that of its upgrade request.
FIRST = "taskbridge.first"
#: Key of a callable that frees what only a plain HTTP request needs.
UPGRADED = "taskbridge.upgraded"
#: Messages of any kind (pongs, acks, connects) allowed for each request that the rate limit allows.
MESSAGES = 4.0
#: Burst of the rate limit, in seconds of its rate.
BURST = 2.0
#: Bytes of payload that cost one token more, as much as a message does.
PIECE = 1024
#: Reads after which other greenlets run; a small frame takes two or three.
READS = 16
#: Checks with no message waiting before the bytes read count as one message that is too large: the
#: handler may have taken the last message without having called ``complete`` yet.
PATIENCE = 25
#: Messages that simple-websocket's thread may read before the handler takes them.
READ_AHEAD = 4
#: Longest Engine.IO packet that is not a message, in characters: "2probe".
SHORT = 6
#: Separator of the packets in one polling request, and how many of them python-engineio accepts.
SEPARATOR, MOST_PACKETS = "\x1e", 16


class WSGIObject(Protocol):
    """A WSGI application; an object, since a call of its ``__call__`` keeps less of the stack."""

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse, /
    ) -> Iterable[bytes]:
        """Answer a request; see PEP 3333."""


#: Serves a client's WebSocket until it ends.
Handler: TypeAlias = Callable[[WebSocket], Iterable[bytes]]
#: Returns a WSGI application that turns a request into a WebSocket, as an async mode's class does.
WebSocketClass: TypeAlias = Callable[[Handler, EngineIOServer], WSGIObject]


class Shared(packet.Packet):
    """A message for many clients: one WebSocket frame, whose bytes they share.

    Args:
        text: an encoded Socket.IO packet.
        latest: key; a queued message is replaced by a later one with the same key. None for a
            message that is never replaced.
    """

    def __init__(self, text: str, latest: Hashable = None) -> None:
        self.packet_type, self.binary = packet.MESSAGE, False
        self.latest = latest
        payload = f"{packet.MESSAGE}{text}".encode()
        #: The encoded frame (RFC 6455, section 5.2).
        self.data = frame(payload)
        self.size = len(self.data)
        self._begin = self.size - len(payload)

    def encode(self, b64: bool = False) -> str | Shared:
        """Return the packet itself for :class:`BoundedWebSocket`; for polling, its text."""
        return self.text if b64 else self

    @property
    def text(self) -> str:
        """The Engine.IO packet."""
        return self.data[self._begin :].decode()


class Framed:
    """A packet for one client, as a WebSocket frame."""

    __slots__ = ("data", "size")

    latest: Hashable = None

    def __init__(self, one: packet.Packet) -> None:
        encoded = one.encode()
        binary = isinstance(encoded, bytes)
        self.data = frame(encoded, BINARY) if binary else frame(encoded.encode())
        self.size = len(self.data)


def framed(one: Queued) -> Frame | Answer | None:
    """Return a packet with its ``data`` as a WebSocket frame; None (end of the queue) unchanged."""
    return one if one is None or isinstance(one, Shared | Framed | Answer) else Framed(one)


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
        if self.received > self._most:
            self._refuse()
        # Reads of data that has arrived already do not wait, so other greenlets would never run.
        self._reads += 1
        if self._reads % READS == 0:
            self._sleep(0)
        return data

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

    def get_socket(self) -> BoundedSocket:
        """Return this socket, in place of eventlet's WSGI input in the environment."""
        return self

    def __getattr__(self, name: str) -> object:
        return getattr(self._socket, name)


class PacedSocket(BoundedSocket):
    """A bounded socket for simple-websocket, whose thread would otherwise read without a limit.

    That thread waits in :meth:`recv` while ``READ_AHEAD`` messages, or more bytes than one message
    may have, were read and the handler has not taken them.
    """

    #: Messages that were read and that the handler has not taken yet.
    unread: Sized = ()
    #: Monotonic time in seconds at which the current write began; None between writes.
    _sending: float | None = None

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


class BoundedWebSocket:
    """A WebSocket that is read at a limited rate, and not while an answer waits in its send queue.

    Args:
        websocket: WebSocket of the async mode.
        bounded: its socket, which counts bytes; None where the mode gives no access to it.
        bucket: token bucket for messages.
        sleep: sleep function of the async mode, in seconds.
        backlog: the client's send queue; None to read without waiting for answers.
    """

    def __init__(
        self,
        websocket: WebSocket,
        bounded: BoundedSocket | None,
        bucket: Bucket,
        sleep: Callable[[float], object],
        backlog: SendQueue | None = None,
    ) -> None:
        self._websocket, self._bounded = websocket, bounded
        self._bucket, self._sleep, self._backlog = bucket, sleep, backlog

    def wait(self) -> str | bytes | None:
        """Return the next message; None if the client has hung up or sent a malformed message."""
        if self._backlog is not None:
            self._backlog.await_taken(self._sleep)
        message: str | bytes | None = self._websocket.wait()
        if self._bounded is not None:
            self._bounded.complete()
        if message is not None and not is_packet(message):
            hit("malformed")
            return None
        # Back-pressure: not to read from a client that sends too fast costs the server nothing.
        pause = self._bucket.owe(1 + len(message or "") / PIECE)
        if pause:
            hit("messages_per_second")
        self._sleep(pause)  # even with no pause, other greenlets run before each message
        return message

    def close(self) -> None:
        """End the connection, and with it the socket and the thread of simple-websocket."""
        with contextlib.suppress(OSError, ConnectionClosed):  # it may be closed already
            self._websocket.close()
        if isinstance(self._bounded, PacedSocket):
            self._bounded.shut()

    def send(self, message: Shared | Answer | str | bytes) -> None:
        """Send a message: a shared one without a copy, an answer in fragments."""
        if isinstance(message, Shared):
            self._send(message.data)
        elif isinstance(message, Answer):
            while not message.done:
                self._send(message.frame())
        else:
            self._websocket.send(message)

    def _send(self, data: bytes) -> None:
        """Write frames."""
        if (send := getattr(self._websocket, "_send", None)) is not None:
            send(data)
        else:
            self._websocket.ws.sock.send(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._websocket, name)


class Silence:
    """A log that discards eventlet's messages about connections that the client closed first."""

    @staticmethod
    def write(_: str) -> None:
        """Write nothing."""


def bounded_websocket_class(
    stock: WebSocketClass, settings: Settings, sleep: Callable[[float], object]
) -> WebSocketClass:
    """Return a replacement for an async mode's WebSocket class that enforces the limits.

    Args:
        stock: the mode's WebSocket class.
        settings: the limits.
        sleep: sleep function of the mode, in seconds.
    """
    rate = MESSAGES * settings.requests_per_second
    most = settings.max_message + settings.max_message // 8 + 1024  # with frame headers

    def new(handler: Handler, server: EngineIOServer) -> WSGIObject:
        def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            given = {key: environ[key] for key in SOCKETS if key in environ}
            bounded = _bounded(environ, most, sleep)
            environ[BOUNDED] = environ.get(FIRST, environ)[BOUNDED] = bounded
            burst = BURST * rate + settings.max_message / PIECE
            bucket = Bucket(rate, burst)

            def handle(websocket: WebSocket) -> Iterable[bytes]:
                environ.get(UPGRADED, int)()
                websocket.log = Silence
                if isinstance(bounded, PacedSocket):
                    bounded.unread = websocket.ws.input_buffer
                # The handler is a bound method of python-engineio's socket.
                backlog = handler.__self__.queue  # type: ignore[attr-defined]
                # python-engineio does not catch the errors that a client causes during an upgrade.
                with contextlib.suppress(OSError, ValueError):
                    return handler(BoundedWebSocket(websocket, bounded, bucket, sleep, backlog))
                return []

            try:
                own = stock(handle, server)
                if isinstance(options := getattr(own, "server_args", None), dict):
                    options["max_message_size"] = most  # of simple-websocket alone
                # A call of the object itself goes through C and keeps a kilobyte of stack.
                return own.__call__(environ, start_response)
            except ProtocolError:  # from simple-websocket's handshake
                environ.pop(BOUNDED, None)
                start_response("400 Bad Request", [("Content-Type", "text/plain")])
                return [b"not a WebSocket"]
            finally:
                environ.update(given)

        return serve

    return new


def _bounded(
    environ: WSGIEnvironment, most: int, sleep: Callable[[float], object]
) -> BoundedSocket | None:
    """Replace a connection's socket by a bounded one, and return it; None without access to one."""
    place = next((name for name in SOCKETS if name in environ), None)
    if place is None:
        return None
    source = environ[place]
    bounded = (
        BoundedSocket(source.get_socket(), most, sleep)
        if place == EVENTLET
        else PacedSocket(source, most, sleep)
    )
    environ[place] = bounded
    return bounded


def is_packet(message: str | bytes) -> bool:
    """Whether a WebSocket message has the form of an Engine.IO, and then a Socket.IO, packet.

    On another one, python-engineio raises an error that does not end the connection.
    """
    if isinstance(message, bytes):
        return True  # an attachment; the Socket.IO server checks whether one is allowed
    kind, second = message[:1], message[1:2]
    if kind == "4":
        return second != "" and second in "0123456"
    return kind != "" and kind in "01235" and len(message) <= SHORT and second not in ("[", "{")


def are_packets(body: bytes) -> bool:
    """Whether the body of a polling request consists of readable packets, and not too many."""
    try:
        packets = body.decode().split(SEPARATOR)
    except UnicodeDecodeError:
        return False
    return len(packets) <= MOST_PACKETS and all(is_packet(one) for one in packets)


def unmask(data: bytes, mask: Sequence[int], length: int | None = None, offset: int = 0) -> bytes:
    """Undo a WebSocket frame's masking (RFC 6455, section 5.3), all bytes in one operation.

    eventlet's own loop takes a microsecond for every few bytes, and blocks all other clients.

    Args:
        data: masked bytes.
        mask: the four bytes of the masking key.
        length: bytes of ``data`` to unmask; default all.
        offset: offset of ``data`` in the frame's payload, in bytes.
    """
    length = len(data) if length is None else length
    turned = bytes(mask[(offset + place) % 4] for place in range(4))
    key = (turned * (length // 4 + 1))[:length]
    return (int.from_bytes(data[:length]) ^ int.from_bytes(key)).to_bytes(length)
