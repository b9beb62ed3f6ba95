"""``GuardedEngine``: an Engine.IO server that limits what is read from each client."""

from __future__ import annotations

import io
import logging
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from typing import TypedDict
from wsgiref.types import StartResponse, WSGIEnvironment

import engineio
from engineio.packet import Packet
from engineio.socket import Socket

from bridge.settings import Settings
from socket_server.concurrency.hub import Hub
from socket_server.concurrency.patching import hub_of
from socket_server.connection import fast_path
from socket_server.connection.bounded_websocket import WebSocketClass, bounded_websocket_class
from socket_server.connection.direct_socket import DirectSockets
from socket_server.connection.flusher import Flusher
from socket_server.connection.guard_middleware import FULL, refuse_origin
from socket_server.connection.send_queue import SendQueue, send_queue_class
from socket_server.limits.addresses import AddressLimits, counted_as
from socket_server.limits.origins import Origins
from socket_server.messages.answer import Answer
from socket_server.messages.packet_checks import SEPARATOR, are_packets
from socket_server.observability.counters import Counters
from socket_server.observability.logs import tell
from socket_server.observability.metrics import hit

__all__ = ["GuardedEngine", "address_of"]

logger = logging.getLogger(__name__)


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


def _is_known(hub: Hub) -> bool:
    """Whether the fast path knows the installed libraries; if not, log it."""
    if changed := fast_path.moved(hub):
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
        self._origins = Origins(settings.origins)
        super().__init__(**{**options, "cors_allowed_origins": self._origins.allow})
        self._settings = settings
        mode: AsyncMode = self._async
        websocket = bounded_websocket_class(mode["websocket"], settings, mode["sleep"])
        self._async: AsyncMode = {**mode, "websocket": websocket}
        self._send_queue_class = send_queue_class(
            mode["queue"], mode["queue_empty"], settings.max_backlog, flow
        )
        #: Sessions per client address; a polling session counts between its requests too.
        self.addresses = AddressLimits(settings)
        hub = hub_of(self.async_mode) if settings.fast_path else None
        if hub is not None and _is_known(hub):
            self.writer = Flusher(self, hub)
            self.sockets: dict[str, Socket] = DirectSockets()

    def create_queue(self, *_: object, **__: object) -> SendQueue:
        """Return a send queue for one client."""
        return self._send_queue_class()

    def handle_request(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Handle a request; see ``engineio.Server``."""
        origin = environ.get("HTTP_ORIGIN")
        if (refusal := self._origins.refusal(origin, environ)) is not None:
            told = {"code": "forbidden", "reason": refusal, "address": address_of(environ)}
            tell("refuse", request="connect", **told)
            return refuse_origin(refusal)(start_response)
        query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""))
        if "sid" not in query and self.addresses.is_full(address_of(environ)):
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


def address_of(environ: WSGIEnvironment) -> str:
    return counted_as(environ.get("REMOTE_ADDR", ""))


def _has_packets(environ: WSGIEnvironment) -> bool:
    """Whether a polling request's body has readable packets; the middleware limits its size."""
    try:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    except OSError:  # the client hung up, or took too long
        return False
    environ["wsgi.input"] = io.BytesIO(body)
    return are_packets(body)
