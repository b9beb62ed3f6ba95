"""Socket.IO and Engine.IO servers that withstand hostile clients.

``tests/unit/socket_server/connection/test_guarded_server.py`` checks that private parts of the
libraries that this module, ``bounded_websocket`` and ``__main__`` use still exist.
"""

from __future__ import annotations

import json
import logging
import re
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

import socketio
from engineio.socket import Socket
from socketio import packet

from bridge.protocol import frames
from bridge.protocol.error_codes import error_object
from bridge.protocol.event import NAMESPACE
from bridge.protocol.request_types import ErrorObject
from bridge.settings import Settings
from socket_server.concurrency.state_lock import StateLock
from socket_server.connection.bounded_socket import BOUNDED, bound
from socket_server.connection.bounded_websocket import FIRST
from socket_server.connection.guard_middleware import answer_with, is_websocket
from socket_server.connection.guarded_engine import GuardedEngine, address_of
from socket_server.connection.strict_packet import Malformed, StrictPacket
from socket_server.messages.answer import Answer, Body
from socket_server.messages.requests import Refused
from socket_server.observability.counters import Counters
from socket_server.observability.metrics import hit

__all__ = ["GuardedServer", "new_guarded_server"]

logger = logging.getLogger(__name__)

#: Requests of the protocol; no other event that a client sends on ``/jobs`` reaches a handler.
REQUESTS = frozenset(frames.REQUESTS)
#: CONNECT packets that one connection may send.
MAX_ATTEMPTS = 5
#: Matches the beginning of a binary message; group 1 is its namespace.
BINARY = re.compile(r"[56]\d*-?(/[^,?\[]*)?")


#: Why an event stream is refused: by a limit, or while the server stops.
TOO_MANY = error_object("too_many_connections", "too many connections")
STOPS = error_object("unavailable", "the server stops: connect again")
NOT_AGAIN = answer_with("400 Bad Request", body="the session has a WebSocket")


class GuardedServer(socketio.Server):
    """A Socket.IO server that passes only the protocol's requests to the handlers of ``/jobs``.

    Args:
        settings: the limits.
        state_lock: is not held while handlers of an application's own namespaces run.
        options: options of ``socketio.Server``.
    """

    def __init__(self, settings: Settings, state_lock: StateLock, **options: object) -> None:
        self._settings, self.state_lock = settings, state_lock
        #: Sessions in no namespace, and since when: monotonic seconds.
        self._strangers: dict[str, float] = {}
        self._attempts: Counter[str] = Counter()
        super().__init__(settings=settings, serializer=StrictPacket, **options)

    def _engineio_server_class(self) -> type[GuardedEngine]:
        return GuardedEngine

    def handle_request(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Handle a request; see ``socketio.Server``."""
        sid = urllib.parse.parse_qs(environ.get("QUERY_STRING", "")).get("sid", [""])[0]
        if is_websocket(environ) and (first := self.environ.get(sid)) is not None:
            one = self.eio.sockets.get(sid)
            if one is None or one.upgrading or one.upgraded:
                # python-engineio would read from both WebSockets, and close neither at the end.
                return NOT_AGAIN(start_response)
            environ[FIRST] = first
        answer: Iterable[bytes] = super().handle_request(environ, start_response)
        return answer

    def sleep(self, seconds: float = 0) -> None:
        """Sleep with the state lock released; see ``socketio.Server``."""
        self.state_lock.outside(super().sleep, seconds)

    def _handle_eio_connect(self, eio_sid: str, environ: WSGIEnvironment) -> object:
        with self.state_lock:
            if not self.eio.addresses.enter(address_of(environ)):
                return False  # other sessions have begun since the check in handle_request
            self._strangers[eio_sid] = time.monotonic()
            return super()._handle_eio_connect(eio_sid, environ)

    def _handle_eio_disconnect(self, eio_sid: str, *reason: object) -> None:
        with self.state_lock:
            if (environ := self.environ.get(eio_sid)) is not None:
                self.eio.addresses.leave(address_of(environ))
            super()._handle_eio_disconnect(eio_sid, *reason)
            self._strangers.pop(eio_sid, None)
            self._attempts.pop(eio_sid, None)
            self._binary_packet.pop(eio_sid, None)

    def _send_packet(self, eio_sid: str, pkt: packet.Packet) -> None:
        if pkt.packet_type != packet.ACK or pkt.namespace != NAMESPACE:
            super()._send_packet(eio_sid, pkt)
            return
        [payload] = pkt.data
        body = payload if isinstance(payload, Body) else Body(payload)
        begin = f"{packet.ACK}{NAMESPACE},{pkt.id}"
        self._send_eio_packet(eio_sid, Answer(begin, body, self.state_lock))

    def _trigger_event(self, event: str, namespace: str, *args: object) -> object:
        if namespace == NAMESPACE:
            return super()._trigger_event(event, namespace, *args)
        return self.state_lock.outside(super()._trigger_event, event, namespace, *args)

    def _handle_eio_message(self, eio_sid: str, data: str | bytes) -> None:
        # For polling requests; from a WebSocket, nothing is read while an answer waits.
        one = self.eio.sockets.get(eio_sid)
        if one is not None and not one.queue.await_taken(self.eio.sleep, self._settings.slow_after):
            self.drop(eio_sid, "slow_after", "slow")
            return
        with self.state_lock:
            self._take_message(eio_sid, data)

    def _take_message(self, eio_sid: str, data: str | bytes) -> None:
        if eio_sid not in self.environ:
            return  # an earlier packet of the same request ended the session
        try:
            if not data:
                raise Malformed("an empty message")
            if (found := BINARY.match(data) if isinstance(data, str) else None) is not None:
                self._check_binary(eio_sid, found[1] or "/")
            super()._handle_eio_message(eio_sid, data)
        except Malformed as error:
            self.drop(eio_sid, "malformed", str(error))

    def _check_binary(self, eio_sid: str, namespace: str) -> None:
        known = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if namespace == NAMESPACE or known is None:
            raise Malformed("a binary message to a namespace that takes none")

    def _handle_connect(self, eio_sid: str, namespace: str | None, data: object) -> None:
        self._attempts[eio_sid] += 1
        if self._attempts[eio_sid] > MAX_ATTEMPTS:
            self.drop(eio_sid, "attempts", "too many attempts to connect")
            return
        self._strangers.pop(eio_sid, None)  # no timeout while the token is checked
        super()._handle_connect(eio_sid, namespace, data)
        if eio_sid in self.environ and self._is_stranger(eio_sid):
            self._strangers[eio_sid] = time.monotonic()

    def _handle_disconnect(self, eio_sid: str, *rest: object) -> None:
        super()._handle_disconnect(eio_sid, *rest)
        self._note_stranger(eio_sid)

    def disconnect(
        self, sid: str, namespace: str | None = None, ignore_queue: bool = False
    ) -> None:
        """Disconnect a client from a namespace; see ``socketio.Server``.

        Its connection ends too, unless it is in, or connects in time to, another namespace.
        """
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace or "/")
        super().disconnect(sid, namespace, ignore_queue)
        if eio_sid is not None:
            self._note_stranger(eio_sid)

    def open_stream(
        self, environ: WSGIEnvironment, auth: object
    ) -> tuple[Socket, ErrorObject | None]:
        """Connect a client that reads an event stream to ``/jobs``, with the state lock held.

        Args:
            environ: WSGI environment of its request.
            auth: auth payload, as other clients send it.

        Returns:
            Its Engine.IO socket, whose queue is empty, and None; or a closed one, and why it is
            refused.
        """
        first = dict(environ)  # the copy has what ends the connection while a write waits
        first[BOUNDED] = bound(first, 0, self.sleep)
        sid = self.eio.generate_id()
        self.eio.sockets[sid] = Socket(self.eio, sid)
        one = self.eio.sockets[sid]
        try:
            if self._handle_eio_connect(sid, first) is False:
                return self._refused_stream(one, TOO_MANY)
            self._handle_connect(sid, NAMESPACE, auth)
            reply = one.queue.get(block=False)
        except BaseException:
            self.close_stream(one)
            raise
        kind, _, payload = ("" if reply is None else reply.data).partition(",")
        if kind.startswith(str(packet.CONNECT_ERROR)):
            return self._refused_stream(one, json.loads(payload)["data"])
        return (one, None) if kind else self._refused_stream(one, STOPS)

    def _refused_stream(self, one: Socket, refusal: ErrorObject) -> tuple[Socket, ErrorObject]:
        self.close_stream(one)
        return one, refusal

    def close_stream(self, one: Socket) -> None:
        """End a client that reads an event stream, with the state lock held."""
        one.close(wait=False, abort=True)
        self.eio.sockets.pop(one.sid, None)

    def _note_stranger(self, eio_sid: str) -> None:
        if eio_sid in self.environ:
            self._strangers.setdefault(eio_sid, time.monotonic())

    def _handle_event(
        self, eio_sid: str, namespace: str | None, id: int | None, data: list[object]
    ) -> None:
        if namespace != NAMESPACE or data[0] in REQUESTS:
            super()._handle_event(eio_sid, namespace, id, data)
        elif id is not None and not self._is_stranger(eio_sid):
            known = ", ".join(sorted(REQUESTS))
            refused = Refused("bad_request", f"there is no such request: there are {known}")
            answer = [{"ok": False, "error": refused.encode()}]
            self._send_packet(
                eio_sid,
                self.packet_class(packet.ACK, namespace=NAMESPACE, id=id, data=answer),
            )

    def _handle_ack(
        self, eio_sid: str, namespace: str | None, id: int | None, data: object
    ) -> None:
        if namespace != NAMESPACE:  # the server asks for none on /jobs, and each would be logged
            super()._handle_ack(eio_sid, namespace, id, data)

    def _is_stranger(self, eio_sid: str) -> bool:
        """Whether a session is connected to no namespace."""
        spaces = list(self.manager.get_namespaces())
        return not any(self.manager.sid_from_eio_sid(eio_sid, name) for name in spaces)

    def look_after(self) -> None:
        """Disconnect clients that connect to no namespace in time, or that do not keep up."""
        horizon = time.monotonic() - self._settings.connect_timeout
        for eio_sid, since in list(self._strangers.items()):
            if since < horizon and self._is_stranger(eio_sid):
                self.drop(eio_sid, "connect_timeout", "it did not connect to a namespace")
        for eio_sid, limit in self.eio.too_slow():
            self.drop(eio_sid, limit, "slow")
        for eio_sid, environ in list(self.environ.items()):
            bounded = environ.get(BOUNDED)
            if bounded is not None and bounded.stuck() > self._settings.slow_after:
                self.drop(eio_sid, "slow_after", "slow")

    def drop(self, eio_sid: str, limit: str, why: str) -> None:
        """End a client's connection at once, even if it reads nothing.

        Args:
            eio_sid: id of its Engine.IO session.
            limit: label of the limit in the metric.
            why: reason, for the log.
        """
        hit(limit)
        logger.info("taskbridge: disconnected a client: %s", why)
        environ = self.environ.get(eio_sid, {})
        if (one := self.eio.sockets.pop(eio_sid, None)) is not None:
            # Without a closing packet: the queue may be full, and the client may not be reading.
            one.close(wait=False, abort=True, reason=why)
        if (bounded := environ.get(BOUNDED)) is not None:
            bounded.shut()


def new_guarded_server(
    settings: Settings, flow: Counters, state_lock: StateLock, **options: object
) -> GuardedServer:
    """Return a server with the settings' limits.

    Args:
        settings: the limits.
        flow: counters of replaced and dropped packets.
        state_lock: the state lock.
        options: options of ``socketio.Server``.
    """
    return GuardedServer(
        settings,
        state_lock,
        async_handlers=False,
        max_http_buffer_size=settings.max_message,
        # The default would let clients stay connected to "/" without a token.
        namespaces=[NAMESPACE],
        flow=flow,
        **options,
    )
