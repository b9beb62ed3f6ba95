"""``is_allowed``: whether a webhook may be delivered to an address. Pure.

Only what the internet routes to a host is public: everything else is a way into the
network that the archive is in. The tables are written out, for Python's own differ by version.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

__all__ = ["Networks", "is_allowed"]

Networks = Iterable[IPv4Network | IPv6Network]

#: Networks of IPv4 that are not public.
NOT_PUBLIC = [
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by customers of a provider (CGNAT)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # services of Azure's hosts, of each machine its own
        "169.254.0.0/16",  # link-local, with metadata of clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, with broadcast
    )
]
#: The networks of IPv6 with public addresses, and what of them is not public.
GLOBAL = IPv6Network("2000::/3")
NOT_GLOBAL = [
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, with Teredo's tunnels and ORCHIDs
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 tunnels
        "3fff::/20",  # documentation
    )
]
#: Prefix of the addresses by which a translator (NAT64) reaches IPv4.
TRANSLATED = IPv6Network("64:ff9b::/96")
#: Bits in the lower half of an address of an ISATAP tunnel, in front of one of IPv4; two further
#: bits say whether that is unique.
TUNNELLED, ANY_SCOPE = 0x00005EFE, 0xFCFFFFFF


def is_allowed(text: str, allowed: Networks) -> bool:
    """Whether a webhook may be delivered to an address.

    Args:
        text: the address to which a connection is to be made, as the resolver returns it.
        allowed: networks that are allowed beside public addresses.
    """
    address = _plain(ip_address(text))
    if any(address in network for network in map(_plain_network, allowed)):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC)
    return _is_global(address)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an address of IPv6 leads to; any other as it is."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in TRANSLATED:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _plain_network(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return the IPv4 network that a network of IPv6 leads to; any other as it is."""
    plain = _plain(network.network_address)
    if network.version == 6 and isinstance(plain, IPv4Address) and network.prefixlen >= 96:
        return IPv4Network((plain, network.prefixlen - 96))
    return network


def _is_global(address: IPv6Address) -> bool:
    if address not in GLOBAL or any(address in network for network in NOT_GLOBAL):
        return False
    return (int(address) >> 32) & ANY_SCOPE != TUNNELLED
