"""WSGI middleware for every HTTP request: trusted proxies, body size, limits per client address."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.wsgi import ClosingIterator

from bridge.protocol.error_codes import error_object
from bridge.settings import Settings
from socket_server.concurrency.wsgi import DETACHED, HANG_UP
from socket_server.connection.bounded_socket import BOUNDED, WSGIObject
from socket_server.limits.addresses import AddressLimits, Proxies, counted_as
from socket_server.limits.connections import ANSWER, ConnectionLimits, key_of
from socket_server.observability.metrics import hit

__all__ = [
    "FULL",
    "GuardMiddleware",
    "answer_with",
    "is_event_stream",
    "is_websocket",
    "refuse_origin",
]

#: Headers of proxies; believed from trusted ones alone, since any client can send them.
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")
#: Other headers of proxies with the same information; always removed.
IGNORED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX", "HTTP_X_REAL_IP")
#: Seconds by which the answer 429 to a client over its rate limit is delayed.
PAUSE = 1.0

#: Path of a job's event stream.
EVENTS = re.compile("/api/jobs/[^/]+/events")

Answer = Callable[[StartResponse], list[bytes]]


class GuardMiddleware:
    """WSGI middleware in front of the server's application.

    The limits hold for the client address of each request, long polling and WebSockets included,
    whatever connection it came by.

    Args:
        app: the server's application.
        settings: limits, and trusted proxies.
        gate: tracks connections and their deadlines.
        sleep: sleep function of the async mode, in seconds.
    """

    def __init__(
        self,
        app: WSGIObject,
        settings: Settings,
        gate: ConnectionLimits,
        sleep: Callable[[float], object],
    ) -> None:
        self._settings, self._gate, self._sleep = settings, gate, sleep
        # A call of the object itself goes through C and keeps a kilobyte of each greenlet's stack.
        self._app = app.__call__
        self._limits = AddressLimits(settings)
        self._proxies = Proxies(settings.trusted_proxies)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        key, websocket = key_of(environ), is_websocket(environ)
        staying = websocket or is_event_stream(environ)
        self._gate.begin(key, environ, self._time_for(environ, staying))
        self._settle_address(environ)
        # The compression that clients offer would cost 300 KiB of memory per connection.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        address = counted_as(environ.get("REMOTE_ADDR", ""))
        admitted, refusal = self._limits.enter(address), None

        def end() -> None:
            last = BOUNDED in environ or refusal is not None or _is_last(environ)
            self._gate.end(key, last=last)
            if admitted:
                self._limits.leave(address)
            self._sleep(0)  # other clients run between the requests that one connection pipelines

        try:
            refusal = self._refusal(environ, websocket, address) if admitted else FULL
            if refusal:
                environ.get(HANG_UP, int)()
            answer = refusal(start_response) if refusal else self._app(environ, start_response)
        except BaseException:
            end()
            raise
        if (detached := environ.get(DETACHED)) is not None:
            detached.at_end(partial(self._limits.leave, address))
            return answer
        if BOUNDED in environ:  # it was a WebSocket, and has ended
            end()
            return answer
        ends = [answer.close, end] if hasattr(answer, "close") else [end]
        return ClosingIterator(self._moving(key, answer), ends)

    def _moving(self, key: Hashable, answer: Iterable[bytes]) -> Iterator[bytes]:
        """Yield an answer's pieces; the deadline is renewed for each that the client has taken.

        A log of gigabytes takes minutes. A client that reads none of it is still ended.
        """
        for piece in answer:
            yield piece
            self._gate.renew(key, ANSWER)

    def _time_for(self, environ: WSGIEnvironment, staying: bool) -> float | None:
        if staying:
            return None
        slow = environ["REQUEST_METHOD"] not in ("GET", "HEAD")  # its body has not arrived yet
        return self._settings.connect_timeout if slow else ANSWER

    def _settle_address(self, environ: WSGIEnvironment) -> None:
        """Set client address, scheme and host from the proxy headers, if the peer is trusted."""
        told = {name: environ.pop(name, "") for name in FORWARDED}
        for name in IGNORED:
            environ.pop(name, None)
        peer = environ.get("REMOTE_ADDR", "")
        if not self._proxies.trusts(peer):
            return
        environ["REMOTE_ADDR"] = self._proxies.client(peer, told["HTTP_X_FORWARDED_FOR"])
        if (scheme := told["HTTP_X_FORWARDED_PROTO"].strip().lower()) in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        if host := told["HTTP_X_FORWARDED_HOST"].rpartition(",")[2].strip():
            environ["HTTP_HOST"] = host

    def _refusal(self, environ: WSGIEnvironment, websocket: bool, address: str) -> Answer | None:
        if self._limits.is_too_fast(address):
            self._sleep(PAUSE)
            return answer_with("429 Too Many Requests", ("Retry-After", "1"))
        if self._has_too_much(environ):
            hit("max_message")
            return answer_with("413 Content Too Large")
        if websocket and environ.get("HTTP_SEC_WEBSOCKET_VERSION") not in ("8", "13"):
            return answer_with("426 Upgrade Required", ("Sec-WebSocket-Version", "13"))
        return None

    def _has_too_much(self, environ: WSGIEnvironment) -> bool:
        length = environ.get("CONTENT_LENGTH") or "0"
        # A chunked body has no known length; the project's own clients send none.
        chunked = bool(environ.get("HTTP_TRANSFER_ENCODING"))
        number = length.isascii() and length.isdecimal()
        return chunked or not number or int(length) > self._settings.max_message

    def prune(self) -> None:
        """Remove the rate limits of idle addresses."""
        self._limits.prune()


def is_websocket(environ: WSGIEnvironment) -> bool:
    """Whether a request asks for a WebSocket."""
    # Requests with another method may have a body, which has a deadline whatever the headers say.
    upgrade = environ.get("HTTP_UPGRADE", "").lower()
    return bool(environ["REQUEST_METHOD"] == "GET" and upgrade == "websocket")


def is_event_stream(environ: WSGIEnvironment) -> bool:
    """Whether a request asks for an event stream, whose answer lasts like a WebSocket."""
    is_path = EVENTS.fullmatch(environ.get("PATH_INFO", ""))
    return environ["REQUEST_METHOD"] == "GET" and is_path is not None


def _is_last(environ: WSGIEnvironment) -> bool:
    """Whether a client's connection ends with its request (RFC 9112, section 9.3)."""
    connection = environ.get("HTTP_CONNECTION", "").lower()
    old = environ.get("SERVER_PROTOCOL") == "HTTP/1.0" and "keep-alive" not in connection
    return old or "close" in connection


def answer_with(
    status: str, *headers: tuple[str, str], body: str = "", type: str = "text/plain; charset=utf-8"
) -> Answer:
    """Return an answer that ends the connection; the default body is the text of the status."""

    text = (body or status.partition(" ")[2]).encode()
    # Without its length, the client of a WebSocket does not read the body.
    fixed = [("Content-Type", type), ("Content-Length", str(len(text))), ("Connection", "close")]

    def answer(start_response: StartResponse) -> list[bytes]:
        start_response(status, [*fixed, *headers])
        return [text]

    return answer


def refuse_origin(reason: str) -> Answer:
    """Return the answer to a page whose origin may not connect."""
    body = json.dumps({"error": error_object("forbidden", reason)})
    return answer_with("400 Bad Request", body=body, type="application/json")


#: The answer when the address, or the whole server, has the maximum number of connections.
FULL = answer_with(
    "429 Too Many Requests",
    ("Retry-After", "1"),
    body=json.dumps({"error": error_object("too_many_connections", "too many connections")}),
    type="application/json",
)
