"""``Origins``: the origins whose browser pages may connect."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import WSGIEnvironment

from bridge.settings.parsers import ORIGIN

__all__ = ["Origins"]

#: Longest origin that a message quotes, in characters: a scheme, a host name and a port.
LONGEST = 300
PORTS = {"http": ":80", "https": ":443"}


class Origins:
    """Decides by the header ``Origin`` whether a request may connect.

    Allowed are listed origins, the server's own (scheme and host of the request, as the guard
    middleware has set them from the headers of a trusted proxy), and requests without the header:
    every browser sends it with a WebSocket, so those come from no page.

    Args:
        listed: ``TASKBRIDGE_ORIGINS``.
    """

    def __init__(self, listed: Iterable[str]) -> None:
        self._listed = frozenset(listed)

    def allow(self, origin: str | None, environ: WSGIEnvironment) -> bool:
        """Whether a page of this origin may connect.

        Args:
            origin: value of the header ``Origin``; None or empty if there is none.
            environ: WSGI environment of the request.
        """
        return not origin or origin in self._listed or _canonical(origin) == _own(environ)

    def refusal(self, origin: str | None, environ: WSGIEnvironment) -> str | None:
        """Return why a page of this origin may not connect, and what to change; None if it may.

        Args:
            origin: as in :meth:`allow`.
            environ: WSGI environment of the request.
        """
        if not origin or self.allow(origin, environ):
            return None
        if len(origin) > LONGEST or not ORIGIN.fullmatch(origin):
            return (
                "the server lets no page in that has no origin, such as a file or a sandboxed "
                "frame: open it from http:// or https://, and list that origin in "
                "TASKBRIDGE_ORIGINS of the server"
            )
        own = _own(environ)
        if own and origin.startswith("https:") and _canonical(origin) == _encrypted(own):
            return (
                f"the server lets no page of {origin} in, for its proxy does not say that it was "
                f"asked for {origin}: set TASKBRIDGE_TRUSTED_PROXIES of the server, or list "
                f"{origin} in its TASKBRIDGE_ORIGINS"
            )
        return (
            f"the server lets no page of {origin} in: list {origin} in TASKBRIDGE_ORIGINS of the "
            "server"
        )


def _own(environ: WSGIEnvironment) -> str | None:
    """Return the origin by which a request names the server; None if it names no host."""
    host = environ.get("HTTP_HOST")
    return _canonical(f"{environ['wsgi.url_scheme']}://{host}") if host else None


def _canonical(origin: str) -> str:
    """Return an origin in lower case, without the default port of its scheme."""
    origin = origin.lower()
    return origin.removesuffix(PORTS.get(origin.partition("://")[0], ""))


def _encrypted(origin: str) -> str:
    return _canonical("https://" + origin.partition("://")[2])
