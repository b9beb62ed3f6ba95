"""What the HTTP servers on eventlet and on gevent have in common."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from wsgiref.types import WSGIApplication, WSGIEnvironment

__all__ = [
    "AT_ONCE",
    "CONNECTION",
    "DETACHED",
    "HANG_UP",
    "HTTP_BUFFER",
    "SOCKET_TIMEOUT",
    "UPGRADED",
    "Detached",
    "Gate",
    "Site",
    "forget_connection",
]

#: Keys of a request's environment. A callable that ends the connection after the answer.
HANG_UP = "taskbridge.hang_up"
#: A callable that frees what only a plain HTTP request needs, for a connection that is a WebSocket.
UPGRADED = "taskbridge.upgraded"
#: The socket of the connection.
CONNECTION = "taskbridge.connection"
#: A ``Detached``, if the request became a WebSocket that goes on without the request's greenlet.
DETACHED = "taskbridge.detached"

#: Timeout in seconds of one read from, or write to, a connection.
SOCKET_TIMEOUT = 30
#: Connections that are accepted before others have their turn. With one, thousands of clients that
#: come back at once wait for minutes: each turn takes as long as all that the others have sent.
AT_ONCE = 10
#: Bytes of an HTTP request, and of an answer, that are read and written at once.
HTTP_BUFFER = 1024

#: Address and port of a peer; IPv6 adds two numbers.
Peer: TypeAlias = Any


class Detached(Protocol):
    """A WebSocket that the event loop reads, once the greenlet of its request has ended."""

    def at_end(self, call: Callable[[], object]) -> None:
        """Let a call be made when the connection has ended."""

    def start(self) -> None:
        """Begin to read: nothing else reads or closes the connection from now on."""


class Gate(Protocol):
    """Admits connections before their first request."""

    def admit(self, peer: Peer, connection: socket.socket) -> bool:
        """Return whether a connection is admitted, and track it if so."""

    def leave(self, peer: Peer) -> None:
        """Remove a connection that has ended."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is served at a listening socket."""

    application: WSGIApplication
    #: Concurrent connections; more are not accepted.
    most: int
    #: None admits all connections.
    gate: Gate | None = None
    #: Files of the certificate chain and its key, in PEM; None serves without TLS.
    certificate: tuple[str, str] | None = None


def forget_connection(environ: WSGIEnvironment) -> None:
    """Remove what holds a connection from the environment of a request that has been answered.

    python-socketio keeps the environment of a session's first request as long as the session.
    """
    for key in (HANG_UP, UPGRADED, CONNECTION, DETACHED, "wsgi.input"):
        environ.pop(key, None)
