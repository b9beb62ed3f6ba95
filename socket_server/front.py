"""What every HTTP request passes first: proxies, sizes, rates."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from werkzeug.wsgi import ClosingIterator

from bridge.settings import Settings
from socket_server.bucket import Buckets
from socket_server.gate import Gate
from socket_server.metrics import hit

__all__ = ["HANG_UP", "Front"]

#: Where the WSGI server puts what ends the connection after the answer.
HANG_UP = "taskbridge.hang_up"
#: Headers of proxies, which anybody can send.
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")
#: Other ways in which proxies say the same; not needed, and not believed.
IGNORED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX", "HTTP_X_REAL_IP")
#: Seconds that one who asks too often waits for the answer that says so.
PAUSE = 1.0


class Front:
    """A WSGI application before the server's own.

    Args:
        app: the server's own.
        settings: limits, and trusted proxies.
        gate: keeps account of connections.
        sleep: lets others go on for so many seconds.
    """

    def __init__(
        self, app: Any, settings: Settings, gate: Gate, sleep: Callable[[float], Any]
    ) -> None:
        self._settings, self._gate, self._sleep = settings, gate, sleep
        # Its method: a call of an object goes through C, and keeps a kilobyte of each greenlet.
        self._app = app.__call__
        self._requests = Buckets(settings.connects_per_second, settings.connects_per_second)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a request."""
        self._sleep(0)  # of those that one connection has sent at once, others wait for one only
        peer = environ.get("REMOTE_ADDR", ""), environ.get("REMOTE_PORT", "")
        staying = environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        self._gate.begin(*peer, **self._time_for(environ, staying))
        self._settle_address(environ)
        # What clients offer to compress would cost 300 KiB of memory for each.
        environ.pop("HTTP_SEC_WEBSOCKET_EXTENSIONS", None)
        refusal = self._refusal(environ, staying)
        if refusal:
            environ.get(HANG_UP, int)()
        try:
            answer = refusal(start_response) if refusal else self._app(environ, start_response)
        finally:
            if staying:  # it is over, or was refused
                self._gate.end(*peer)
        return answer if staying else ClosingIterator(answer, lambda: self._gate.end(*peer))

    def _time_for(self, environ: dict[str, Any], staying: bool) -> dict[str, Any]:
        if staying:
            return {"seconds": None}
        slow = environ["REQUEST_METHOD"] not in ("GET", "HEAD")  # its body is yet to come
        return {"seconds": self._settings.connect_timeout} if slow else {}

    def _settle_address(self, environ: dict[str, Any]) -> None:
        """Believe what a trusted proxy says of the client, and nobody else."""
        told = {name: environ.pop(name, "") for name in FORWARDED}
        for name in IGNORED:
            environ.pop(name, None)
        if not self._gate.trusts(environ.get("REMOTE_ADDR", "")):
            return
        if address := self._client(told["HTTP_X_FORWARDED_FOR"]):
            environ["REMOTE_ADDR"] = address
        if (scheme := told["HTTP_X_FORWARDED_PROTO"].strip().lower()) in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        if host := told["HTTP_X_FORWARDED_HOST"].rpartition(",")[2].strip():
            environ["HTTP_HOST"] = host

    def _client(self, chain: str) -> str | None:
        """Return the last address of the chain that is no trusted proxy's: before it, all lie."""
        for one in reversed([part.strip() for part in chain.split(",") if part.strip()]):
            try:
                address = str(ip_address(one))
            except ValueError:
                return None
            if not self._gate.trusts(address):
                return address
        return None

    def _refusal(self, environ: dict[str, Any], staying: bool) -> Callable[[Any], Any] | None:
        if self._has_too_much(environ):
            hit("max_message")
            return _answer("413 Content Too Large")
        if staying and environ.get("HTTP_SEC_WEBSOCKET_VERSION") not in ("8", "13"):
            return _answer("426 Upgrade Required", ("Sec-WebSocket-Version", "13"))
        if not staying and self._requests.take(environ.get("REMOTE_ADDR", "")):
            hit("connects_per_second")
            self._sleep(PAUSE)
            return _answer("429 Too Many Requests", ("Retry-After", "1"))
        return None

    def _has_too_much(self, environ: dict[str, Any]) -> bool:
        length = environ.get("CONTENT_LENGTH") or "0"
        # In chunks, nobody knows how much will come; no client of ours sends any.
        chunked = bool(environ.get("HTTP_TRANSFER_ENCODING"))
        number = length.isascii() and length.isdecimal()
        return chunked or not number or int(length) > self._settings.max_message

    def prune(self) -> None:
        """Forget who asked nothing for a while."""
        self._requests.prune()


def _answer(status: str, *headers: tuple[str, str]) -> Callable[[Any], list[bytes]]:
    def answer(start_response: Any) -> list[bytes]:
        plain = [("Content-Type", "text/plain; charset=utf-8"), ("Connection", "close")]
        start_response(status, [*plain, *headers])
        return [status.partition(" ")[2].encode()]

    return answer
