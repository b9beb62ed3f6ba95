"""Socket.IO and Engine.IO servers that withstand hostile clients.

``tests/unit/socket_server/connection/test_guarded_server.py`` checks that private parts of the
libraries that this module, ``bounded_websocket`` and ``__main__`` use still exist.
"""

from __future__ import annotations

import io
import logging
import re
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypedDict
from wsgiref.types import StartResponse, WSGIEnvironment

import engineio
import socketio
from engineio.packet import Packet
from engineio.socket import Socket
from socketio import packet

from bridge.protocol.event import NAMESPACE
from bridge.settings import Settings
from socket_server.concurrency.state_lock import StateLock
from socket_server.connection import fast_path
from socket_server.connection.bounded_websocket import (
    BOUNDED,
    FIRST,
    SEPARATOR,
    WebSocketClass,
    are_packets,
    bounded_websocket_class,
)
from socket_server.connection.direct_socket import DirectSockets, EndedTask, socket_of_writer
from socket_server.connection.flusher import Flusher
from socket_server.connection.guard_middleware import FULL, answer_with, is_websocket
from socket_server.connection.send_queue import SendQueue, send_queue_class
from socket_server.limits.addresses import AddressLimits, counted_as
from socket_server.messages.answer import Answer, Body
from socket_server.messages.requests import Refused
from socket_server.messages.strict_json import FiniteJson
from socket_server.observability.counters import Counters
from socket_server.observability.metrics import hit

__all__ = ["GuardedServer", "new_guarded_server"]

logger = logging.getLogger(__name__)

#: Requests of the protocol; no other event that a client sends on ``/jobs`` reaches a handler.
REQUESTS = frozenset({"watch", "unwatch", "jobs", "cancel", "enqueue", "refresh"})
#: CONNECT packets that one connection may send.
MAX_ATTEMPTS = 5
#: Matches the beginning of a binary message; group 1 is its namespace.
BINARY = re.compile(r"[56]\d*-?(/[^,?\[]*)?")
#: Attachments of a binary message, which only an application's own namespaces accept.
MAX_ATTACHMENTS = 10


NOT_AGAIN = answer_with("400 Bad Request", body="the session has a WebSocket")


class Polled:
    """The body of an answer to a polling request, composed piece by piece while it is written.

    Args:
        packets: packets to send.
        around: python-engineio's body for no packets: empty, or the JSONP call around them.
    """

    def __init__(self, packets: list[Packet], around: bytes) -> None:
        self._packets, self._around = packets, around

    def __len__(self) -> int:
        """Return 0, so that python-engineio does not compress the body."""
        return 0

    def __iter__(self) -> Iterator[bytes]:
        # JSONP is a call with a string, in which quotes are escaped.
        begin, end = self._around[:-3], self._around[-3:]
        if begin:
            yield begin
        for number, one in enumerate(self._packets):
            if number:
                yield SEPARATOR.encode()
            for piece in _pieces(one):
                yield piece.replace(b'"', b'\\"') if begin else piece
        if end:
            yield end


def _pieces(one: Packet) -> Iterator[bytes]:
    if not isinstance(one, Answer):
        yield one.encode(b64=True).encode()
        return
    while not one.done:
        yield one.piece()


class PollingAnswer(TypedDict):
    """python-engineio's answer to a polling request."""

    status: str
    headers: list[tuple[str, str]]
    response: bytes | Polled


class AsyncMode(TypedDict):
    """What is used here of what python-engineio knows of an async mode."""

    queue: type
    queue_empty: type[Exception]
    websocket: WebSocketClass
    sleep: Callable[[float], object]


class Malformed(ValueError):
    """A client sent something that is not a packet, or a packet that clients may not send."""


class StrictPacket(packet.Packet):
    """A Socket.IO packet whose decoding fails if any part of it is malformed."""

    json = FiniteJson

    def decode(self, encoded_packet: object) -> int:
        """Decode a packet from a client; return how many attachments follow it.

        Raises:
            Malformed: it is not a packet that a client may send.
        """
        if not isinstance(encoded_packet, str):
            raise Malformed("an attachment without a message")
        try:
            attachments: int = super().decode(encoded_packet)
        except (ValueError, TypeError, IndexError, RecursionError) as error:
            raise Malformed(type(error).__name__) from None
        self._check(attachments)
        return attachments

    def _check(self, attachments: int) -> None:
        binary = self.packet_type in (packet.BINARY_EVENT, packet.BINARY_ACK)
        if attachments > (MAX_ATTACHMENTS if binary else 0):
            raise Malformed("too many attachments")
        if binary and not attachments:
            raise Malformed("a binary message without a part")
        if self.packet_type == packet.CONNECT_ERROR or not 0 <= self.packet_type <= 6:
            raise Malformed("a packet of a type that only a server sends")
        if self.packet_type in (packet.EVENT, packet.BINARY_EVENT):
            named = isinstance(self.data, list) and self.data and isinstance(self.data[0], str)
            if not named:
                raise Malformed("an event without a name")


def _is_known() -> bool:
    """Whether the fast path knows the installed libraries; if not, log it."""
    if changed := fast_path.moved():
        logger.warning(
            "taskbridge: the server runs without its fast path, for these parts of libraries have "
            "changed: %s",
            ", ".join(changed),
        )
    return not changed


class GuardedEngine(engineio.Server):
    """An Engine.IO server that limits what is read from each client, and its send queue.

    Args:
        settings: the limits.
        flow: counters of replaced and dropped packets.
        options: options of ``engineio.Server``.
    """

    def __init__(self, *, settings: Settings, flow: Counters, **options: object) -> None:
        super().__init__(**options)
        self._settings = settings
        mode: AsyncMode = self._async
        websocket = bounded_websocket_class(mode["websocket"], settings, mode["sleep"])
        self._async: AsyncMode = {**mode, "websocket": websocket}
        self._backlog = send_queue_class(
            mode["queue"], mode["queue_empty"], settings.max_backlog, flow
        )
        #: Sessions per client address; a polling session counts between its requests too.
        self.addresses = AddressLimits(settings)
        if settings.fast_path and self.async_mode == "eventlet" and _is_known():
            self.writer = Flusher(self)
            self.sockets: dict[str, Socket] = DirectSockets()

    def create_queue(self, *_: object, **__: object) -> SendQueue:
        """Return a send queue for one client."""
        return self._backlog()

    def start_background_task(
        self, target: Callable[..., object], *args: object, **options: object
    ) -> object:
        """Run a background task; see ``engineio.Server``."""
        if socket_of_writer(target) is not None:
            target()  # returns at once: a direct socket needs no writer
            return EndedTask
        return super().start_background_task(target, *args, **options)

    def handle_request(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Handle a request; see ``engineio.Server``."""
        query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""))
        if "sid" not in query and self.addresses.is_full(_address(environ)):
            return FULL(start_response)
        if environ.get("REQUEST_METHOD") == "POST" and not _has_packets(environ):
            hit("malformed")
            start_response("400 Bad Request", [("Content-Type", "text/plain")])
            return [b"not packets"]
        answer = super().handle_request(environ, start_response)
        # The answer to a polling request is a list with one body.
        one = answer[0] if isinstance(answer, list) and answer else None
        body: Iterable[bytes] = iter(one) if isinstance(one, Polled) else answer
        return body

    def _ok(
        self,
        packets: list[Packet] | None = None,
        headers: list[tuple[str, str]] | None = None,
        jsonp_index: int | None = None,
    ) -> PollingAnswer:
        if packets is None or not any(isinstance(one, Answer) for one in packets):
            answer: PollingAnswer = super()._ok(packets, headers, jsonp_index)
            return answer
        told = super()._ok([], headers, jsonp_index)
        composed: PollingAnswer = told | {"response": Polled(packets, told["response"])}
        return composed

    def too_slow(self) -> list[tuple[str, str]]:
        """Return ids of sessions that do not keep up, with the setting that each has exceeded."""
        found = []
        for sid, one in list(self.sockets.items()):
            if one.queue.over:
                found.append((sid, "max_backlog"))
            elif one.queue.stuck() > self._settings.slow_after:
                found.append((sid, "slow_after"))
        return found


def _address(environ: WSGIEnvironment) -> str:
    return counted_as(environ.get("REMOTE_ADDR", ""))


def _has_packets(environ: WSGIEnvironment) -> bool:
    """Whether a polling request's body has readable packets; the middleware limits its size."""
    try:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    except OSError:  # the client hung up, or took too long
        return False
    environ["wsgi.input"] = io.BytesIO(body)
    return are_packets(body)


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
            if not self.eio.addresses.enter(_address(environ)):
                return False  # other sessions have begun since the check in handle_request
            self._strangers[eio_sid] = time.monotonic()
            return super()._handle_eio_connect(eio_sid, environ)

    def _handle_eio_disconnect(self, eio_sid: str, *reason: object) -> None:
        with self.state_lock:
            if (environ := self.environ.get(eio_sid)) is not None:
                self.eio.addresses.leave(_address(environ))
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
