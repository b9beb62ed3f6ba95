"""Connections of a server: which are admitted, and until when each must have asked something."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from bridge.settings import Settings
from socket_server.limits.addresses import AddressLimits, Proxies, counted_as
from socket_server.observability.metrics import hit

__all__ = ["Gate", "key_of"]

#: Seconds that answering a plain request may take; long polling takes up to 45.
ANSWER = 60.0


@dataclass(slots=True)
class Visit:
    """An open connection; ``deadline`` is None while it is a client's WebSocket."""

    #: As it is counted; None of a proxy, and of what was not admitted here.
    address: str | None
    socket: Any
    deadline: float | None
    #: Whether it was admitted here; if not, it is known only while it has a request.
    admitted: bool = True


def key_of(environ: dict[str, Any]) -> Hashable:
    """Return what identifies the connection of a request: its peer; of a Unix socket, itself."""
    port = environ.get("REMOTE_PORT")
    return (environ.get("REMOTE_ADDR", ""), port) if port else id(_accepted(environ))


def _accepted(environ: dict[str, Any]) -> Any:
    """Return the socket of a request where a WSGI server accepted it that asks no gate."""
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


class Gate:
    """Keeps account of the connections of a server.

    Under gunicorn, which admits connections itself, it knows those that have a request.

    Args:
        settings: limits.
        clock: seconds, monotonic.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._visits: dict[Hashable, Visit] = {}
        self._limits = AddressLimits(settings, clock)
        self._proxies = Proxies(settings.trusted_proxies)

    def __len__(self) -> int:
        return len(self._visits)

    def admit(self, peer: Any, connection: Any) -> bool:
        """Return whether a connection may stay, and keep account of it if so.

        Args:
            peer: its address and port.
            connection: its socket.
        """
        # A proxy stands for many clients; each of their requests is counted (see ``Front``).
        address = None if self._proxies.trusts(str(peer[0])) else counted_as(str(peer[0]))
        if not self._limits.enter(address):
            return False
        if address is not None and self._limits.is_too_fast(address):
            self._limits.leave(address)
            return False
        self._visits[_key(peer)] = Visit(address, connection, self._next_request(address))
        return True

    def _next_request(self, address: str | None) -> float:
        """Return until when a connection must send its next request.

        A proxy keeps idle connections for the next of its clients; to close one just as it sends a
        request on it would fail that client.
        """
        return self._clock() + (ANSWER if address is None else self._settings.connect_timeout)

    def leave(self, peer: Any) -> None:
        """Note that a connection is over."""
        if (visit := self._visits.pop(_key(peer), None)) is not None:
            self._limits.leave(visit.address)

    def begin(self, key: Hashable, environ: dict[str, Any], seconds: float | None = ANSWER) -> None:
        """Note that a connection has sent a request.

        Args:
            key: see :func:`key_of`.
            environ: of the request.
            seconds: that the answer may take; None for a client that stays.
        """
        deadline = None if seconds is None else self._clock() + seconds
        if (visit := self._visits.get(key)) is not None:
            visit.deadline = deadline
        elif (connection := _accepted(environ)) is not None:
            self._visits[key] = Visit(None, connection, deadline, admitted=False)

    def end(self, key: Hashable, *, last: bool = False) -> None:
        """Note that a request was answered; the next may not take long to come.

        Args:
            key: see :func:`key_of`.
            last: whether the connection ends with it. gunicorn would read the rest of a request
                that was refused, and its thread that accepts would wait for the client to close.
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
        """End the connections that took too long."""
        now = self._clock()
        for visit in list(self._visits.values()):
            if visit.deadline is not None and visit.deadline < now:
                hit("connect_timeout")
                visit.deadline = now + self._settings.connect_timeout
                _shut(visit.socket)
        self._limits.prune()


def _key(peer: Any) -> tuple[str, str]:
    return str(peer[0]), str(peer[1])


def _shut(connection: Any) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
