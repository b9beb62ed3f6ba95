"""The WebSocket of the server on eventlet and gevent."""

from __future__ import annotations

import base64
import binascii
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from socket import SHUT_WR, socket
from wsgiref.types import StartResponse, WSGIEnvironment

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Message, Ping, TextMessage
from wsproto.utilities import RemoteProtocolError, generate_accept_token

from bridge.untyped import EngineIOServer
from socket_server.concurrency.text_frames import texts_of
from socket_server.concurrency.wsgi import CONNECTION, DETACHED

__all__ = ["WebSocket", "WebSocketWSGI"]

#: Bytes of one read.
PIECE = 4096
#: Bytes of the key with which a client asks for a WebSocket (RFC 6455, section 4.1).
KEY_BYTES = 16
GOODBYE = CloseConnection(code=1000)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %s\r\n\r\n"
)


class WebSocket:
    """A client's WebSocket.

    Args:
        socket: the connection's socket, on which the handshake is over.
    """

    def __init__(self, socket: socket) -> None:
        self.socket = socket
        #: Held while a frame is written: one greenlet answers pings, others send.
        self.lock = threading.Lock()
        #: Reads and makes frames from the first one on that ``texts_of`` does not read; until then
        #: None, as it is for most clients: it takes memory, and ten times as long.
        self._protocol: Connection | None = None
        #: Messages, and control frames that are to be answered.
        self._unread: deque[str | bytes | Ping | CloseConnection] = deque()
        self._parts: list[str | bytes] = []

    def wait(self) -> str | bytes | None:
        """Return the next message; None if the client has hung up or sent a malformed frame.

        Raises:
            OSError: the connection has ended.
        """
        while True:
            while self._unread:
                one = self._unread.popleft()
                if isinstance(one, str | bytes):
                    return one
                self._answer(one)
            if not self._is_open or not (data := self.socket.recv(PIECE)):
                return None
            self.receive(data)

    def receive(self, data: bytes) -> None:
        """Take bytes that have come, for ``wait``; it does not wait itself."""
        if self._protocol is None and (texts := texts_of(data)) is not None:
            self._unread.extend(texts)
            return
        protocol = self._frames()
        protocol.receive_data(data)
        for event in protocol.events():
            self._take(event)

    def _frames(self) -> Connection:
        if self._protocol is None:
            self._protocol = Connection(ConnectionType.SERVER)
        return self._protocol

    @property
    def unread(self) -> bool:
        """Whether there is something for ``wait`` to do: frames have come, or none will."""
        return bool(self._unread) or not self._is_open

    @property
    def _is_open(self) -> bool:
        return self._protocol is None or self._protocol.state is ConnectionState.OPEN

    def _take(self, event: Event) -> None:
        if isinstance(event, Message):
            self._parts.append(event.data)
            if event.message_finished:
                empty: str | bytes = "" if isinstance(event, TextMessage) else b""
                self._unread.append(empty.join(self._parts))  # type: ignore[arg-type]
                self._parts.clear()
        elif isinstance(event, Ping | CloseConnection):
            self._unread.append(event)

    def _answer(self, event: Ping | CloseConnection) -> None:
        if isinstance(event, CloseConnection):
            self._say_goodbye(event.response())
        elif self._is_open:
            self.write(self._frames().send(event.response()))

    def send(self, message: str | bytes) -> None:
        """Send a message.

        Raises:
            OSError: the connection has ended.
        """
        if not self._is_open:
            raise BrokenPipeError("the WebSocket is closed")
        event = TextMessage(message) if isinstance(message, str) else BytesMessage(message)
        self.write(self._frames().send(event))

    def write(self, data: bytes) -> None:
        """Write frames.

        Raises:
            OSError: the connection has ended.
        """
        with self.lock:
            self.socket.sendall(data)

    def _say_goodbye(self, event: CloseConnection) -> None:
        """Send the closing frame unless it was sent, or the connection has ended."""
        protocol = self._frames()
        if protocol.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            with contextlib.suppress(OSError):
                self.write(protocol.send(event))

    def close(self) -> None:
        """Send the closing frame, and close the connection, which may have ended already."""
        self._say_goodbye(GOODBYE)
        with contextlib.suppress(OSError):
            self.socket.shutdown(SHUT_WR)
        self.socket.close()


class WebSocketWSGI:
    """A WSGI application that turns a request into a WebSocket.

    Args:
        handler: serves the WebSocket until it ends.
    """

    def __init__(
        self, handler: Callable[[WebSocket], Iterable[bytes]], _: EngineIOServer = None
    ) -> None:
        self._handler = handler

    def __call__(self, environ: WSGIEnvironment, _: StartResponse) -> Iterable[bytes]:
        """Serve a WebSocket.

        Raises:
            wsproto.utilities.RemoteProtocolError: the request asks for none.
        """
        accepted = ACCEPTED % generate_accept_token(_key(environ))
        connection = environ[CONNECTION]
        connection.sendall(accepted)
        websocket = WebSocket(connection)
        answer = self._handler(websocket)
        if DETACHED not in environ:
            websocket.close()
        return answer


def _key(environ: WSGIEnvironment) -> bytes:
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "").encode("latin-1")
    upgrade = environ.get("HTTP_CONNECTION", "").lower().split(",")
    try:
        decoded = base64.b64decode(key, validate=True)
    except binascii.Error:
        decoded = b""
    if len(decoded) != KEY_BYTES or "upgrade" not in map(str.strip, upgrade):
        raise RemoteProtocolError("not a handshake of a WebSocket")
    return bytes(key)
