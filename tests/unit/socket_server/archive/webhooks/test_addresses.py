"""Addresses to which nothing is delivered, in all forms in which a resolver may return them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from socket_server.archive.webhooks.addresses import is_allowed

#: Addresses of IPv4 that are not public: the first, the last, and some between them.
NOT_PUBLIC = str.split("""
    0.0.0.0 0.0.0.1 0.255.255.255 10.0.0.0 10.0.0.1 10.255.255.255 100.64.0.0 100.100.100.200
    100.127.255.255 127.0.0.0 127.0.0.1 127.1.2.3 127.255.255.255 168.63.129.16 169.254.0.1
    169.254.169.254 169.254.255.255 172.16.0.0 172.17.0.1 172.31.255.255 192.0.0.1 192.0.0.170
    192.0.2.1 192.88.99.1 192.168.0.0 192.168.1.1 192.168.255.255 198.18.0.0 198.19.255.255
    198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.254 255.255.255.255
""")
#: The neighbours of these, and others.
PUBLIC = str.split("""
    1.0.0.0 1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
    128.0.0.0 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0
    192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
""")
#: Addresses of IPv6 alone.
NOT_GLOBAL = str.split("""
    :: ::1 ::2 ::ffff:0:7f00:1 ::7f00:1 ::8.8.8.8 64:ff9b:1::1 64:ff9b:1::808:808 100::1
    100:0:0:1::1 1fff:: 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1
    2001:db8::1 2002:: 2002:7f00:1:: 2002:a00:1:: 2002:808:808:: 3fff::1 4000:: 5f00::1 fc00::1
    fd00::1 fd00:ec2::254 fdff:ffff::1 fe80::1 fe80::1%eth0 fe80::1%1 febf::1 fec0::1 feff::1 ff00::
    ff01::1 ff02::1 ff02::1%lo ff0e::1 2606:4700::5efe:7f00:1 2606:4700::200:5efe:a00:1
    2606:4700::5efe:808:808 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
""")
GLOBAL = str.split("""
    2000:: 2001:4860:4860::8888 2001:200::1 2606:4700::1111 2a00:1450:4001::1 3ffe::1
""")


@pytest.mark.parametrize("form", ["{0}", "::ffff:{0}", "64:ff9b::{0}", "::ffff:{1:x}:{2:x}"])
def test_no_form_of_an_address_that_is_not_public_is_allowed_and_each_of_a_public_one(form):
    def written(text):
        number = int(IPv4Address(text))
        return form.format(text, number >> 16, number & 0xFFFF)

    assert [one for one in NOT_PUBLIC if is_allowed(written(one), ())] == []
    assert [one for one in PUBLIC if not is_allowed(written(one), ())] == []


def test_only_global_addresses_of_ipv6_are_allowed_and_no_tunnel():
    assert [one for one in NOT_GLOBAL if is_allowed(one, ())] == []
    assert [one for one in GLOBAL if not is_allowed(one, ())] == []


@given(st.ip_addresses())
def test_nothing_is_allowed_that_python_calls_private_or_special(address):
    plain = getattr(address, "ipv4_mapped", None) or address
    inner = getattr(plain, "sixtofour", None) or plain
    kinds = "private", "loopback", "link_local", "multicast", "unspecified", "reserved"
    if any(getattr(one, f"is_{kind}") for one in (plain, inner) for kind in kinds):
        translated = isinstance(plain, IPv6Address) and plain in ip_network("64:ff9b::/96")
        assert translated or not is_allowed(str(address), ())


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.1.0.0/16", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3"], ["10.2.0.1"]),
        ("::ffff:10.1.0.0/112", ["10.1.2.3", "::ffff:a01:203"], ["10.2.0.1", "::ffff:10.2.0.1"]),
        ("127.0.0.1/32", ["127.0.0.1"], ["127.0.0.2", "::1"]),
        ("::1/128", ["::1"], ["127.0.0.1", "::2"]),
        ("fd00:1::/32", ["fd00:1::5"], ["fd00:2::5", "fe80::1"]),
        ("fe80::/10", ["fe80::1%eth0"], ["fd00::1"]),
    ],
)
def test_a_network_that_is_allowed_is_allowed_alone_and_in_each_form(network, inside, outside):
    allowed = [ip_network(network)]
    assert [one for one in inside if not is_allowed(one, allowed)] == []
    assert [one for one in outside if is_allowed(one, allowed)] == []
    assert is_allowed("8.8.8.8", allowed)
    assert ip_address(inside[0])
