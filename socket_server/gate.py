"""Who may connect: so many in all and of one address, and none that takes its time to ask."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from bridge.settings import Settings
from socket_server.bucket import Buckets
from socket_server.metrics import hit
from socket_server.tally import Tally

__all__ = ["Gate"]

#: Seconds that answering a plain request may take; long polling takes up to 45.
ANSWER = 60.0


@dataclass(slots=True)
class Visit:
    """An open connection; ``deadline`` is None while it is a client's WebSocket."""

    address: str
    socket: Any
    deadline: float | None


class Gate:
    """Keeps account of all connections of a server.

    Args:
        settings: limits.
        clock: seconds, monotonic.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._visits: dict[tuple[str, str], Visit] = {}
        self._addresses = Tally()
        burst = max(settings.connects_per_second, settings.max_connections_per_address)
        self._arrivals = Buckets(settings.connects_per_second, burst, clock)

    def __len__(self) -> int:
        return len(self._visits)

    def admit(self, peer: Any, connection: Any) -> bool:
        """Return whether a connection may stay, and keep account of it if so.

        Args:
            peer: its address and port.
            connection: its socket.
        """
        address = str(peer[0])
        if limit := self._limit_of(address):
            hit(limit)
            return False
        self._addresses.enter(address)
        deadline = self._clock() + self._settings.connect_timeout
        self._visits[_key(*peer[:2])] = Visit(address, connection, deadline)
        return True

    def _limit_of(self, address: str) -> str | None:
        """Return the limit that a connection more of this address would run into."""
        if len(self._visits) >= self._settings.max_connections:
            return "max_connections"
        if self.trusts(address):
            return None  # a proxy stands for many
        if self._addresses[address] >= self._settings.max_connections_per_address:
            return "max_connections_per_address"
        return "connects_per_second" if self._arrivals.take(address) else None

    def trusts(self, address: str) -> bool:
        """Whether an address is that of a trusted proxy."""
        if not self._settings.trusted_proxies:
            return False
        try:
            known = ip_address(address)
        except ValueError:
            return False
        return any(known in network for network in self._settings.trusted_proxies)

    def leave(self, peer: Any) -> None:
        """Note that a connection is over."""
        if (visit := self._visits.pop(_key(*peer[:2]), None)) is not None:
            self._addresses.leave(visit.address)

    def begin(self, address: str, port: str, seconds: float | None = ANSWER) -> None:
        """Note that a connection has sent a request.

        Args:
            address: its peer's.
            port: its peer's.
            seconds: that the answer may take; None for a client that stays.
        """
        if visit := self._visits.get(_key(address, port)):
            visit.deadline = None if seconds is None else self._clock() + seconds

    def end(self, address: str, port: str) -> None:
        """Note that a request was answered; the next may not take long to come."""
        self.begin(address, port, self._settings.connect_timeout)

    def look_after(self) -> None:
        """End the connections that took too long."""
        now = self._clock()
        for visit in list(self._visits.values()):
            if visit.deadline is not None and visit.deadline < now:
                hit("connect_timeout")
                visit.deadline = now + self._settings.connect_timeout
                with contextlib.suppress(OSError):
                    visit.socket.shutdown(socket.SHUT_RDWR)
        self._arrivals.prune()


def _key(address: Any, port: Any) -> tuple[str, str]:
    return str(address), str(port)
