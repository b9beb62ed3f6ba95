"""Reading from a client's WebSocket: so much at once, so much a second."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sized
from socket import SHUT_RDWR
from typing import Any

from engineio import packet
from simple_websocket import ConnectionClosed
from wsproto.utilities import ProtocolError

from bridge.settings import Settings
from socket_server.connection.send_queue import FIRST_PAUSE, LONGEST_PAUSE, Backlog
from socket_server.limits.token_bucket import Bucket
from socket_server.messages.answer import Answer
from socket_server.messages.websocket_frame import BINARY, frame
from socket_server.observability.metrics import hit

__all__ = [
    "BOUNDED",
    "FIRST",
    "UPGRADED",
    "Shared",
    "are_packets",
    "framed",
    "guarded",
    "is_packet",
    "unmask",
]

#: Where a connection's bounded socket is in its environment.
BOUNDED = "taskbridge.socket"
#: Where WSGI servers put a connection's socket, in the order in which simple-websocket looks for
#: it; eventlet's is in its input, which python-engineio puts beside that of gunicorn.
EVENTLET = "eventlet.input"
SOCKETS = ("werkzeug.socket", "gunicorn.socket", EVENTLET)
#: Where the environment of a session's first request is, in that of its upgrade.
FIRST = "taskbridge.first"
#: Where it is what lets go of all that only a plain request needs.
UPGRADED = "taskbridge.upgraded"
#: Messages of any kind that a client may send for each request it may make: pongs, acks, connects.
MESSAGES = 4.0
#: Seconds of its rate that may be used up at once.
BURST = 2.0
#: Bytes that count as much as a message.
PIECE = 1024
#: Reads after which others have their turn; a frame takes two or three.
READS = 16
#: Looks whether what was read ahead is taken, once it is: whoever took it may not have said so yet.
PATIENCE = 25
#: Messages that are read before they are asked for, where a thread does so.
READ_AHEAD = 4
#: Letters of an Engine.IO packet that is no message: "2probe" is the longest.
SHORT = 6
#: Between the packets of one polling request, and how many python-engineio takes.
SEPARATOR, MOST_PACKETS = "\x1e", 16


class Shared(packet.Packet):
    """A message for many clients: one WebSocket frame, whose bytes they all get.

    Args:
        text: a Socket.IO packet.
        latest: one that waits gives way to a later one with the same; None if none does.
    """

    def __init__(self, text: str, latest: Any = None) -> None:
        self.packet_type, self.binary = packet.MESSAGE, False
        self.latest = latest
        payload = f"{packet.MESSAGE}{text}".encode()
        #: The frame, as it is sent (RFC 6455, section 5.2).
        self.data = frame(payload)
        self.size = len(self.data)
        self._begin = self.size - len(payload)

    def encode(self, b64: bool = False) -> Any:
        """Return the packet itself for :class:`Wire`; for polling, its text."""
        return self.text if b64 else self

    @property
    def text(self) -> str:
        """The Engine.IO packet."""
        return self.data[self._begin :].decode()


class Framed:
    """A packet for one client, as a WebSocket frame."""

    __slots__ = ("data", "size")

    latest = None

    def __init__(self, one: packet.Packet) -> None:
        encoded = one.encode()
        binary = isinstance(encoded, bytes)
        self.data = frame(encoded, BINARY) if binary else frame(encoded.encode())
        self.size = len(self.data)


def framed(one: Any) -> Any:
    """Return a packet with its ``data`` as a WebSocket frame; None, which is the end, as it is."""
    return one if one is None or isinstance(one, Shared | Framed | Answer) else Framed(one)


class TooLarge(OSError):
    """A message is larger than the server reads."""


class BoundedSocket:
    """A socket that counts what is read, so that fragments and control frames count together.

    Args:
        socket: from which is read.
        most: bytes that may come before a message is complete.
        sleep: of the mode; lets others have their turn.
    """

    def __init__(self, socket: Any, most: int, sleep: Callable[[float], Any]) -> None:
        self._socket, self._most, self._sleep = socket, most, sleep
        self.received = 0
        self._reads = 0
        self._is_shut = False

    def complete(self) -> None:
        """Note that a message was taken."""
        self.received = 0

    def shut(self) -> None:
        """End the connection at once: what has come already is not read any more either."""
        self._is_shut = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(SHUT_RDWR)

    def recv(self, size: int) -> bytes:
        """Read; see ``socket.recv``.

        Raises:
            TooLarge: more came than one message may take.
        """
        data = self._recv(size)
        if self.received > self._most:
            self._refuse()
        # Small frames that have come already are read without ever waiting for the network.
        self._reads += 1
        if self._reads % READS == 0:
            self._sleep(0)
        return data

    def _recv(self, size: int) -> bytes:
        data: bytes = b"" if self._is_shut else self._socket.recv(size)
        self.received += len(data)
        return data

    def _refuse(self) -> None:
        hit("max_message")
        raise TooLarge("a message is too large")

    def stuck(self) -> float:
        """Return for how many seconds the client has taken nothing of what is sent through this."""
        return 0.0

    def get_socket(self) -> BoundedSocket:
        """Return this, as what eventlet's WSGI server puts into the environment does."""
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class PacedSocket(BoundedSocket):
    """A socket of simple-websocket, which has a thread that reads whatever comes, without a bound.

    That thread waits here while messages, or as many bytes as one of them may take, were read and
    nobody has asked for them yet.
    """

    #: Messages that were read and that nobody has asked for yet.
    unread: Sized = ()
    #: Since when something is sent; seconds, monotonic.
    _sending: float | None = None

    def complete(self) -> None:
        """Note that a message was taken."""
        if not self.unread:
            self.received = 0

    def recv(self, size: int) -> bytes:
        """Read, once little waits to be asked for; see ``socket.recv``.

        Raises:
            TooLarge: more came than one message may take.
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
        """Write all of it; gevent's ``socket.send`` writes what there is room for."""
        self._sending = time.monotonic()
        try:
            self._socket.sendall(data)
        finally:
            self._sending = None
        return len(data)

    def stuck(self) -> float:
        """Return for how many seconds the client has taken nothing of what is sent through this."""
        since = self._sending
        return 0.0 if since is None else time.monotonic() - since


class Wire:
    """A WebSocket that is read no faster than a client may talk, and takes what it is answered.

    Args:
        websocket: of the mode.
        bounded: counts what is read; None where the mode gives no access to its socket.
        bucket: lets messages through.
        sleep: of the mode.
        backlog: what waits for the client; None for nothing.
    """

    def __init__(
        self,
        websocket: Any,
        bounded: BoundedSocket | None,
        bucket: Bucket,
        sleep: Callable[[float], Any],
        backlog: Backlog | None = None,
    ) -> None:
        self._websocket, self._bounded = websocket, bounded
        self._bucket, self._sleep, self._backlog = bucket, sleep, backlog

    def wait(self) -> Any:
        """Return the next message; None once the client has hung up, or sends what is none."""
        if self._backlog is not None:
            self._backlog.await_taken(self._sleep)
        message = self._websocket.wait()
        if self._bounded is not None:
            self._bounded.complete()
        if message is not None and not is_packet(message):
            hit("malformed")
            return None
        # Whoever talks too fast is not read for a while: that costs the server nothing.
        pause = self._bucket.owe(1 + len(message or "") / PIECE)
        if pause:
            hit("messages_per_second")
        self._sleep(pause)  # others have their turn before each message, were it for no time
        return message

    def close(self) -> None:
        """End the connection; simple-websocket alone leaves its socket open, and its thread."""
        with contextlib.suppress(OSError, ConnectionClosed):  # it may be over already
            self._websocket.close()
        if isinstance(self._bounded, PacedSocket):
            self._bounded.shut()

    def send(self, message: Any) -> None:
        """Send a message: of a shared one the very bytes, and an answer in pieces."""
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

    def __getattr__(self, name: str) -> Any:
        return getattr(self._websocket, name)


class Silence:
    """Takes what eventlet writes of connections that ended before it closed them."""

    @staticmethod
    def write(_: str) -> None:
        """Write nothing."""


def guarded(stock: Any, settings: Settings, sleep: Callable[[float], Any]) -> Any:
    """Return what stands in for a mode's class of WebSockets.

    Args:
        stock: that class.
        settings: limits.
        sleep: of the mode.
    """
    rate = MESSAGES * settings.requests_per_second
    most = settings.max_message + settings.max_message // 8 + 1024  # with the frames' own bytes

    def new(handler: Callable[[Any], Any], server: Any) -> Any:
        def serve(environ: dict[str, Any], start_response: Any) -> Any:
            given = {key: environ[key] for key in SOCKETS if key in environ}
            bounded = _bounded(environ, most, sleep)
            environ[BOUNDED] = environ.get(FIRST, environ)[BOUNDED] = bounded
            burst = BURST * rate + settings.max_message / PIECE
            bucket = Bucket(rate, burst)

            def handle(websocket: Any) -> Any:
                environ.get(UPGRADED, int)()
                websocket.log = Silence
                if isinstance(bounded, PacedSocket):
                    bounded.unread = websocket.ws.input_buffer
                # A method of python-engineio's socket.
                backlog = handler.__self__.queue  # type: ignore[attr-defined]
                # python-engineio lets through what a client does wrong while it upgrades.
                with contextlib.suppress(OSError, ValueError):
                    return handler(Wire(websocket, bounded, bucket, sleep, backlog))
                return []

            try:
                own = stock(handle, server)
                if isinstance(options := getattr(own, "server_args", None), dict):
                    options["max_message_size"] = most  # of simple-websocket, which has a bound
                # Its method: a call of an object goes through C, and keeps a kilobyte of stack.
                return own.__call__(environ, start_response)
            except ProtocolError:  # of simple-websocket's handshake
                environ.pop(BOUNDED, None)
                start_response("400 Bad Request", [("Content-Type", "text/plain")])
                return [b"not a WebSocket"]
            finally:
                environ.update(given)

        return serve

    return new


def _bounded(
    environ: dict[str, Any], most: int, sleep: Callable[[float], Any]
) -> BoundedSocket | None:
    """Put a bounded socket into the place of that of a connection, and return it."""
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
    """Whether a WebSocket message is one that Engine.IO and Socket.IO can at least begin to read.

    What is not makes python-engineio raise where nothing ends the connection.
    """
    if isinstance(message, bytes):
        return True  # an attachment; who may send one is known further up
    kind, second = message[:1], message[1:2]
    if kind == "4":
        return second != "" and second in "0123456"
    return kind != "" and kind in "01235" and len(message) <= SHORT and second not in ("[", "{")


def are_packets(body: bytes) -> bool:
    """Whether the body of a polling request has nothing but packets that can be read."""
    try:
        packets = body.decode().split(SEPARATOR)
    except UnicodeDecodeError:
        return False
    return len(packets) <= MOST_PACKETS and all(is_packet(one) for one in packets)


def unmask(data: bytes, mask: Any, length: int | None = None, offset: int = 0) -> bytes:
    """Undo a WebSocket frame's masking (RFC 6455, section 5.3), all bytes in one operation.

    eventlet's own takes a microsecond for every few bytes, in which no other client has its turn.

    Args:
        data: as it came.
        mask: four bytes.
        length: of ``data``; default all of it.
        offset: place of ``data`` in its frame.
    """
    length = len(data) if length is None else length
    turned = bytes(mask[(offset + place) % 4] for place in range(4))
    key = (turned * (length // 4 + 1))[:length]
    return (int.from_bytes(data[:length]) ^ int.from_bytes(key)).to_bytes(length)
