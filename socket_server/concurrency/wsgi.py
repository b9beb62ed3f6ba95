"""What the HTTP servers on eventlet and on gevent have in common."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias
from wsgiref.types import WSGIApplication

__all__ = ["CONNECTION", "HANG_UP", "HTTP_BUFFER", "SOCKET_TIMEOUT", "UPGRADED", "Gate", "Site"]

#: Keys of a request's environment. A callable that ends the connection after the answer.
HANG_UP = "taskbridge.hang_up"
#: A callable that frees what only a plain HTTP request needs, for a connection that is a WebSocket.
UPGRADED = "taskbridge.upgraded"
#: The socket of the connection.
CONNECTION = "taskbridge.connection"

#: Timeout in seconds of one read from, or write to, a connection.
SOCKET_TIMEOUT = 30
#: Bytes of an HTTP request, and of an answer, that are read and written at once.
HTTP_BUFFER = 1024

#: Address and port of a peer; IPv6 adds two numbers.
Peer: TypeAlias = Any


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
