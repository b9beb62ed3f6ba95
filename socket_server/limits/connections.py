"""The gate: admits connections, and ends those that miss the deadline of their next request."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias
from wsgiref.types import WSGIEnvironment

from bridge.settings import Settings
from socket_server.limits.addresses import AddressLimits, Proxies, counted_as
from socket_server.limits.silence import limit_silence
from socket_server.observability.metrics import hit

__all__ = ["ConnectionLimits", "Peer", "key_of"]

#: Seconds that the answer to a plain request may take, or each of its pieces where it has several;
#: long polling takes up to 45.
ANSWER = 60.0

#: Address and port of a peer; IPv6 adds two numbers.
Peer: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
#: eventlet's and gevent's sockets have the same methods.
Socket: TypeAlias = socket.socket


@dataclass(slots=True)
class Visit:
    """An open connection; ``deadline`` (monotonic seconds) is None while it is a WebSocket."""

    #: Key of the limits; None for a proxy's connection, and for one not admitted by the gate.
    address: str | None
    socket: Socket
    deadline: float | None
    #: Whether the gate admitted it; if not, it is known only while it has a request.
    admitted: bool = True


def key_of(environ: WSGIEnvironment) -> Hashable:
    """Return the key of a request's connection: address and port, or the id of a Unix socket."""
    port = environ.get("REMOTE_PORT")
    return (environ.get("REMOTE_ADDR", ""), port) if port else id(_accepted(environ))


def _accepted(environ: WSGIEnvironment) -> Socket | None:
    """Return a request's socket under gunicorn or werkzeug, which accept without the gate."""
    accepted: Socket | None = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return accepted


class ConnectionLimits:
    """Tracks the connections of a server, with a deadline for each.

    Under gunicorn, which accepts connections itself, it knows only connections with a request.

    Args:
        settings: limits, and trusted proxies.
        clock: monotonic clock, in seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._visits: dict[Hashable, Visit] = {}
        self._limits = AddressLimits(settings, clock)
        self._proxies = Proxies(settings.trusted_proxies)

    def __len__(self) -> int:
        return len(self._visits)

    def admit(self, peer: Peer, connection: Socket) -> bool:
        """Return whether a connection is admitted, and track it if so.

        Args:
            peer: address and port of the peer.
            connection: socket of the connection.
        """
        # A proxy stands for many clients; ``Front`` counts each of their requests.
        address = None if self._proxies.trusts(str(peer[0])) else counted_as(str(peer[0]))
        if not self._limits.enter(address):
            return False
        if address is not None and self._limits.is_too_fast(address):
            self._limits.leave(address)
            return False
        self._visits[_key(peer)] = Visit(address, connection, self._next_request(address))
        return True

    def _next_request(self, address: str | None) -> float:
        """Return the deadline of a connection's next request.

        It is later for a proxy, which keeps idle connections for its next clients: to close one
        just as the proxy sends a request on it would fail that client.
        """
        return self._clock() + (ANSWER if address is None else self._settings.connect_timeout)

    def leave(self, peer: Peer) -> None:
        """Remove a connection that has ended."""
        if (visit := self._visits.pop(_key(peer), None)) is not None:
            self._limits.leave(visit.address)

    def begin(
        self, key: Hashable, environ: WSGIEnvironment, seconds: float | None = ANSWER
    ) -> None:
        """Note that a connection has sent a request.

        Args:
            key: see :func:`key_of`.
            environ: WSGI environment of the request.
            seconds: time limit for the answer; None for a WebSocket.
        """
        deadline = None if seconds is None else self._clock() + seconds
        if (visit := self._visits.get(key)) is not None:
            visit.deadline = deadline
        elif (connection := _accepted(environ)) is not None:
            limit_silence(connection, self._settings)
            self._visits[key] = Visit(None, connection, deadline, admitted=False)

    def renew(self, key: Hashable, seconds: float = ANSWER) -> None:
        """Note that a connection has taken a piece of its answer.

        Args:
            key: see :func:`key_of`.
            seconds: time limit for the next piece; a connection that has none keeps none.
        """
        if (visit := self._visits.get(key)) is not None and visit.deadline is not None:
            visit.deadline = self._clock() + seconds

    def end(self, key: Hashable, *, last: bool = False) -> None:
        """Note that a request was answered, and set the deadline of the next one.

        Args:
            key: see :func:`key_of`.
            last: whether the connection is to end now. gunicorn would read the rest of a refused
                request, and its accepting thread would wait for the client to close.
        """
        if (visit := self._visits.get(key)) is None:
            return
        if visit.admitted:
            visit.deadline = self._next_request(visit.address)
            return
        self._visits.pop(key, None)
        if last:
            _shut(visit.socket)

    def look_after(self) -> None:
        """End connections that missed their deadline; remove the rates of idle addresses."""
        now = self._clock()
        for visit in list(self._visits.values()):
            if visit.deadline is not None and visit.deadline < now:
                hit("connect_timeout")
                visit.deadline = now + self._settings.connect_timeout
                _shut(visit.socket)
        self._limits.prune()


def _key(peer: Peer) -> tuple[str, str]:
    return str(peer[0]), str(peer[1])


def _shut(connection: Socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
