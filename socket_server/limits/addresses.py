"""Clients' addresses: whose a request is, and how much one address may ask at once and a second."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from bridge.settings import Settings
from socket_server.limits.counter import Tally
from socket_server.limits.token_bucket import Buckets
from socket_server.observability.metrics import hit

__all__ = ["AddressLimits", "Proxies", "counted_as"]

#: Bits of an IPv6 address that are one client's: a provider gives each customer a /64 or more.
CLIENT_BITS = 64
#: Addresses whose rate is held: to remove those that are idle takes 10 ms at most.
MOST = 20_000
#: An address with a port, or in brackets, as some proxies write them.
WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+", re.ASCII)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address without its port, brackets and zone; IPv4 where it is mapped to IPv6."""
    if found := WITH_PORT.fullmatch(text):
        text = found[1] or found[2] or ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def counted_as(address: str) -> str:
    """Return what limits count an address as: itself; of IPv6, its network of 64 bits.

    Args:
        address: as in ``REMOTE_ADDR``. What is no address, as of a Unix socket, counts as itself.
    """
    known = _parsed(address)
    if isinstance(known, IPv6Address):
        return str(ip_network((known, CLIENT_BITS), strict=False))
    return address if known is None else str(known)


class Proxies:
    """Finds the client's address behind trusted proxies.

    Args:
        trusted: networks of proxies; ``unix`` for those that connect to a Unix socket.
    """

    def __init__(self, trusted: Iterable[Any]) -> None:
        self._trusted = tuple(trusted)

    def trusts(self, peer: str) -> bool:
        """Whether an address is that of a trusted proxy; an empty one is a Unix socket's."""
        if not self._trusted:
            return False
        if not peer:
            return "unix" in self._trusted
        known = _parsed(peer)
        return known is not None and any(
            known in network for network in self._trusted if network != "unix"
        )

    def client(self, peer: str, forwarded: str) -> str:
        """Return the address of the client of a request.

        It is the last one of the chain that is no trusted proxy's, since whatever is before it may
        be made up; the first one if all are trusted. If the header is missing, or what counts of it
        is no address, the client is the proxy itself.

        Args:
            peer: the address that the connection comes from; a trusted proxy's.
            forwarded: ``X-Forwarded-For``, several headers joined by commas.
        """
        client = peer
        for one in reversed([part.strip() for part in forwarded.split(",") if part.strip()]):
            if (known := _parsed(one)) is None:
                return peer
            client = str(known)
            if not self.trusts(client):
                break
        return client


class AddressLimits:
    """Counts what is open, in all and of each address, and how often each address comes.

    It may be used by several threads.

    Args:
        settings: the limits.
        clock: seconds, monotonic.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._open, self._count = Tally(), 0
        rate = settings.connects_per_second
        self._rate = Buckets(rate, max(1.0, rate), clock, MOST)

    def enter(self, address: str | None) -> bool:
        """Count something that is opened; return False, and count nothing, if there is too much.

        Args:
            address: see :func:`counted_as`; None if it stands for many.
        """
        with self._lock:
            if self.is_full(address):
                return False
            self._count += 1
            if address is not None:
                self._open.enter(address)
            return True

    def is_full(self, address: str | None) -> bool:
        """Whether as much is open as may be, in all or of this address."""
        each = self._settings.max_connections_per_address
        if self._count >= self._settings.max_connections:
            hit("max_connections")
        elif address is not None and self._open[address] >= each:
            hit("max_connections_per_address")
        else:
            return False
        return True

    def leave(self, address: str | None) -> None:
        """Count what was opened no more."""
        with self._lock:
            self._count -= 1
            if address is not None:
                self._open.leave(address)

    def is_too_fast(self, address: str) -> bool:
        """Count a connection or a request, unless its address has had too many of late."""
        with self._lock:
            too_fast = self._rate.take(address) > 0
        if too_fast:
            hit("connects_per_second")
        return too_fast

    def prune(self) -> None:
        """Forget addresses that asked nothing for a while."""
        with self._lock:
            self._rate.prune()

    def __len__(self) -> int:
        """Addresses that are held."""
        return len(self._open) + len(self._rate)
