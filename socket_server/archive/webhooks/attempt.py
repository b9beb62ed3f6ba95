"""``post``: one attempt to deliver, over a connection of its own, in bounded time.

An attempt resolves the endpoint's name, checks an address, and connects to that very address: the
name is not resolved again, so an answer of the DNS that changes leads nowhere. Redirects are not
followed, and bodies of answers are not read.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from socket_server.archive.webhooks.addresses import Networks, is_allowed

__all__ = ["PATIENCE", "Answer", "Unreachable", "post", "reach"]

#: Seconds that an attempt may take in all, without the resolver's time.
PATIENCE = 15.0


class Answer(NamedTuple):
    """What an endpoint answered."""

    status: int
    #: Its header ``Retry-After``; None without one.
    retry_after: str | None


class Unreachable(Exception):
    """No answer came; the text says why, and has nothing that the endpoint has sent."""


class _Connection(HTTPConnection):
    """A connection to an address of a host that was checked.

    Args:
        url: URL of the endpoint.
        allowed: networks that are allowed beside public addresses.
        patience: seconds that it lasts.
    """

    def __init__(self, url: SplitResult, allowed: Networks, patience: float) -> None:
        self._secure = url.scheme == "https"
        self.default_port = 443 if self._secure else 80
        self._name, self._allowed = url.hostname or "", allowed
        # Without the dot of a name that is absolute: certificates have none.
        super().__init__(self._name.rstrip("."), url.port or self.default_port, timeout=patience)
        self._end = time.monotonic() + patience
        self.expired = False

    def expire(self) -> None:
        """End what the connection waits for; called by another thread."""
        self.expired = True
        sock = getattr(self, "sock", None)
        with contextlib.suppress(OSError):
            if sock is not None:
                # Not the method of TLS sockets, which also forgets the session that is being read.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def connect(self) -> None:
        """Connect to the first address that is allowed and answers."""
        self.sock = _connected(self._name, self.port, self._allowed, self._left)
        if self._secure:
            # The handshake only once `expire` finds the socket.
            self.sock = _context().wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
        if self.expired:
            raise TimeoutError
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()

    def _left(self) -> float:
        return max(0.01, self._end - time.monotonic())


@functools.cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    allowed: Networks,
    patience: float = PATIENCE,
) -> Answer:
    """Send a body to an endpoint.

    Args:
        url: URL of the endpoint.
        headers: headers of the request, beside ``Host`` and ``Content-Length``.
        body: what is sent.
        allowed: networks that are allowed beside public addresses.
        patience: seconds after which it is given up; default ``PATIENCE``. The time of the resolver
            comes on top, which bounds it itself.

    Raises:
        Unreachable: no answer came.
    """
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    with _connection(parts, allowed, patience) as connection:
        connection.request("POST", target, body, {**headers, "Connection": "close"})
        with connection.getresponse() as answer:
            return Answer(answer.status, answer.headers.get("Retry-After"))


def reach(url: str, allowed: Networks, patience: float = PATIENCE) -> None:
    """Connect to an endpoint, and send it nothing.

    Raises:
        Unreachable: it cannot be connected to, or it may not.
    """
    with _connection(urlsplit(url), allowed, patience) as connection:
        connection.connect()


@contextlib.contextmanager
def _connection(parts: SplitResult, allowed: Networks, patience: float) -> Iterator[_Connection]:
    """Yield a connection; what it raises becomes ``Unreachable``."""
    connection = _Connection(parts, allowed, patience)
    timer = threading.Timer(patience, connection.expire)
    timer.daemon = True
    timer.start()
    try:
        yield connection
    except (OSError, HTTPException, UnicodeError) as error:
        late = connection.expired or isinstance(error, TimeoutError)
        reason = f"no answer within {patience:g} s" if late else _reason(error)
        raise Unreachable(reason) from error
    finally:
        timer.cancel()
        connection.close()


def _connected(name: str, port: int, allowed: Networks, left: Callable[[], float]) -> socket.socket:
    """Return a socket that is connected to an address of a name."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    fit = [one for one in found if is_allowed(str(one[4][0]), allowed)]
    if not fit:
        raise Unreachable(
            f"its address {found[0][4][0]} is not public: TASKBRIDGE_WEBHOOK_ALLOW allows others"
        )
    failure: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(fit):
        sock = socket.socket(family, kind, protocol)
        try:
            # One that drops packets, such as of IPv6 where only IPv4 works, leaves time for others.
            sock.settimeout(left() / (len(fit) - number))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            sock.settimeout(left())
            return sock
    assert failure is not None, "there is an address"
    raise failure


def _reason(error: Exception) -> str:
    if isinstance(error, RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason or type(error).__name__}"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "its name cannot be resolved"
    if isinstance(error, OSError):
        return str(error.strerror or type(error).__name__)
    return f"what answers does not speak HTTP ({type(error).__name__})"
