"""WebSocket wrappers that limit what is read from a client: message size and rate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TypeAlias
from wsgiref.types import StartResponse, WSGIEnvironment

from simple_websocket import ConnectionClosed
from wsproto.utilities import ProtocolError

from bridge.settings import Settings
from bridge.untyped import EngineIOServer, WebSocket
from socket_server.concurrency.websocket import WebSocketWSGI
from socket_server.concurrency.wsgi import CONNECTION, DETACHED, UPGRADED, Detached
from socket_server.connection.bounded_socket import (
    BOUNDED,
    SOCKETS,
    BoundedSocket,
    PacedSocket,
    WSGIObject,
    bound,
)
from socket_server.connection.send_queue import (
    SendQueue,
)
from socket_server.connection.shared_packet import Shared
from socket_server.limits.token_bucket import Bucket
from socket_server.messages.answer import Answer
from socket_server.messages.packet_checks import is_packet
from socket_server.observability.metrics import hit

__all__ = ["FIRST", "BoundedWebSocket", "bounded_websocket_class"]

#: Key of the environment of a session's first request, in that of its upgrade request.
FIRST = "taskbridge.first"
#: Messages of any kind (pongs, acks, connects) allowed for each request that the rate limit allows.
MESSAGES = 4.0
#: Burst of the rate limit, in seconds of its rate.
BURST = 2.0
#: Bytes of payload that cost one token more, as much as a message does.
PIECE = 1024


#: Serves a client's WebSocket until it ends.
Handler: TypeAlias = Callable[[WebSocket], Iterable[bytes]]
#: Returns a WSGI application that turns a request into a WebSocket, as an async mode's class does.
WebSocketClass: TypeAlias = Callable[[Handler, EngineIOServer], WSGIObject]


class BoundedWebSocket:
    """A WebSocket that is read at a limited rate, and not while an answer waits in its send queue.

    Args:
        websocket: WebSocket of the async mode.
        bounded: its socket, which counts bytes; None where the mode gives no access to it.
        bucket: token bucket for messages.
        sleep: sleep function of the async mode, in seconds.
        send_queue: the client's send queue; None to read without waiting for answers.
    """

    def __init__(
        self,
        websocket: WebSocket,
        bounded: BoundedSocket | None,
        bucket: Bucket,
        sleep: Callable[[float], object],
        send_queue: SendQueue | None = None,
    ) -> None:
        self._websocket, self._bounded = websocket, bounded
        self._bucket, self._sleep, self._send_queue = bucket, sleep, send_queue
        #: What reads the WebSocket when its request has ended; None while the request reads it.
        self.detached: Detached | None = None

    def receive(self, data: bytes) -> bool:
        """Take bytes that were read from the socket; return whether ``wait`` has something to do.

        Raises:
            OSError: a message is too large.
        """
        if self._bounded is not None:
            self._bounded.count(len(data))
        self._websocket.receive(data)
        return bool(self._websocket.unread)

    def wait(self) -> str | bytes | None:
        """Return the next message; None if the client has hung up or sent a malformed message."""
        if self._send_queue is not None:
            self._send_queue.await_taken(self._sleep)
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
        # Other greenlets run before each message, also without a pause. Before the last message of
        # those that the hub has read, they have run already: the hub reads no more until then.
        if pause or self.detached is None or self._websocket.unread:
            self._sleep(pause)
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
        if (write := getattr(self._websocket, "write", None)) is not None:
            write(data)
        else:
            self._websocket.ws.sock.send(data)

    def __getattr__(self, name: str) -> object:
        return getattr(self._websocket, name)


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
            bounded = bound(environ, most, sleep)
            environ[BOUNDED] = environ.get(FIRST, environ)[BOUNDED] = bounded
            burst = BURST * rate + settings.max_message / PIECE
            bucket = Bucket(rate, burst)

            def handle(websocket: WebSocket) -> Iterable[bytes]:
                environ.get(UPGRADED, int)()
                if isinstance(bounded, PacedSocket):
                    bounded.watch(websocket.ws)
                # The handler is a bound method of python-engineio's socket.
                queue = handler.__self__.queue  # type: ignore[attr-defined]
                one = BoundedWebSocket(websocket, bounded, bucket, sleep, queue)
                answer: Iterable[bytes] = []
                # python-engineio does not catch the errors that a client causes during an upgrade.
                with contextlib.suppress(OSError, ValueError):
                    answer = handler(one)
                if one.detached is not None:
                    environ[DETACHED] = one.detached
                return answer

            try:
                websocket_class = WebSocketWSGI if CONNECTION in environ else stock
                own = websocket_class(handle, server)
                if isinstance(options := getattr(own, "server_args", None), dict):
                    options["max_message_size"] = most  # of simple-websocket alone
                # A call of the object itself goes through C and keeps a kilobyte of stack.
                return own.__call__(environ, start_response)
            except ProtocolError:  # from the handshake
                environ.pop(BOUNDED, None)
                start_response("400 Bad Request", [("Content-Type", "text/plain")])
                return [b"not a WebSocket"]
            finally:
                environ.update(given)

        return serve

    return new
