"""Client addresses: found behind trusted proxies, and limited in connections and their rate."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from bridge.settings import Settings
from socket_server.limits.counter import KeyedCounter
from socket_server.limits.token_bucket import Buckets
from socket_server.observability.metrics import hit

__all__ = ["AddressLimits", "Proxies", "counted_as"]

#: Prefix length that stands for one IPv6 client: a provider gives each customer a /64 or more.
CLIENT_BITS = 64
#: Addresses whose rate is tracked; removing the idle ones of so many takes 10 ms at most.
MOST = 20_000
#: An address with a port, or in brackets, as some proxies write them.
WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+", re.ASCII)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address without port, brackets and zone, a mapped IPv4 one as IPv4; else None."""
    if found := WITH_PORT.fullmatch(text):
        text = found[1] or found[2] or ""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(MOST)
def counted_as(address: str) -> str:
    """Return the key under which limits count an address: itself, or its /64 network for IPv6.

    Args:
        address: ``REMOTE_ADDR``; other text is its own key, such as a Unix socket's "".
    """
    known = _parsed(address)
    if isinstance(known, IPv6Address):
        return str(ip_network((known, CLIENT_BITS), strict=False))
    return address if known is None else str(known)


class Proxies:
    """Finds the client's address behind trusted proxies.

    Args:
        trusted: networks of the proxies; ``unix`` for proxies that connect to a Unix socket.
    """

    def __init__(self, trusted: Iterable[IPv4Network | IPv6Network | str]) -> None:
        self._trusted = tuple(trusted)

    def trusts(self, peer: str) -> bool:
        """Whether an address is a trusted proxy's; an empty address stands for a Unix socket."""
        if not self._trusted:
            return False
        if not peer:
            return "unix" in self._trusted
        known = _parsed(peer)
        return known is not None and any(
            known in network for network in self._trusted if not isinstance(network, str)
        )

    def client(self, peer: str, forwarded: str) -> str:
        """Return the address of the client of a request.

        It is the last address in the header that is not a trusted proxy's, since a client can forge
        all before it; the first one if all are trusted. If the header is missing, or an entry is
        not an address before one is found, it is the proxy's own address.

        Args:
            peer: address that the connection comes from; a trusted proxy's.
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
    """Limits open connections (or requests), in all and per address, and their rate per address.

    Its methods may be called by several threads.

    Args:
        settings: the limits.
        clock: monotonic clock, in seconds.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._open, self._count = KeyedCounter(), 0
        rate = settings.connects_per_second
        self._rate = Buckets(rate, max(1.0, rate), clock, MOST)

    def enter(self, address: str | None) -> bool:
        """Count something opened; return False, and count nothing, if a limit is reached.

        Args:
            address: see :func:`counted_as`; None for a proxy's, which stands for many clients.
        """
        with self._lock:
            if self.is_full(address):
                return False
            self._count += 1
            if address is not None:
                self._open.enter(address)
            return True

    def is_full(self, address: str | None) -> bool:
        """Whether the limit is reached, in all or for this address."""
        each = self._settings.max_connections_per_address
        if self._count >= self._settings.max_connections:
            hit("max_connections")
        elif address is not None and self._open[address] >= each:
            hit("max_connections_per_address")
        else:
            return False
        return True

    def leave(self, address: str | None) -> None:
        """Count something closed."""
        with self._lock:
            self._count -= 1
            if address is not None:
                self._open.leave(address)

    def is_too_fast(self, address: str) -> bool:
        """Whether an address is over its rate; if not, count one connection or request of it."""
        with self._lock:
            too_fast = self._rate.take(address) > 0
        if too_fast:
            hit("connects_per_second")
        return too_fast

    def prune(self) -> None:
        """Remove the rates of idle addresses."""
        with self._lock:
            self._rate.prune()

    def __len__(self) -> int:
        """Entries held: addresses with something open, plus addresses with a rate."""
        return len(self._open) + len(self._rate)
