"""Addresses: whose a request is, and how much of one address is let in."""

from __future__ import annotations

import threading

import pytest

from bridge.settings import Settings
from bridge.settings.parsers import networks
from socket_server.limits.addresses import MOST, AddressLimits, Proxies, counted_as
from support.clock import Clock

TRUSTED = Proxies(networks("10.0.0.0/8, fd00::/8, ::ffff:192.168.1.0/120"))


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_client_counts_as_its_network_and_a_mapped_address_as_ipv4(address, counted):
    assert counted_as(address) == counted


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("5.5.5.5", "5.5.5.5"),
        ("6.6.6.6, 5.5.5.5, 10.0.0.7", "5.5.5.5"),
        ("6.6.6.6,5.5.5.5:4711", "5.5.5.5"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1, fd00::1", "2001:db8::1"),
        ("::ffff:5.5.5.5", "5.5.5.5"),
        ("5.5.5.5, ::ffff:10.0.0.7", "5.5.5.5"),
        ("5.5.5.5, 192.168.1.9", "5.5.5.5"),
        ("10.7.7.7, 10.0.0.7", "10.7.7.7"),
        ("rubbish, 5.5.5.5", "5.5.5.5"),
    ],
)
def test_the_client_is_the_last_of_the_chain_that_is_no_trusted_proxy(chain, client):
    assert TRUSTED.client("10.0.0.1", chain) == client


@pytest.mark.parametrize(
    "chain", ["", " , ", "5.5.5.5, rubbish", "unknown", "5.5.5.5:", "[::1", "1.2.3", "0x7f000001"]
)
def test_a_chain_that_says_nothing_leaves_the_proxy_itself(chain):
    assert TRUSTED.client("10.0.0.1", chain) == "10.0.0.1"


def test_the_peers_of_a_unix_socket_are_trusted_where_that_is_said():
    assert not TRUSTED.trusts("")
    assert not Proxies(()).trusts("")
    local = Proxies(networks("unix, 10.0.0.0/8"))
    assert local.trusts("")
    assert local.trusts("10.0.0.1")
    assert not local.trusts("unix")
    assert local.client("", "5.5.5.5, 10.0.0.1") == "5.5.5.5"


def test_a_rate_below_one_a_second_lets_one_in():
    clock = Clock()
    limits = AddressLimits(Settings(connects_per_second=0.5), clock)
    assert [limits.is_too_fast("a") for _ in range(2)] == [False, True]
    clock.tick(2)
    assert not limits.is_too_fast("a")


def test_addresses_without_end_take_no_memory_without_end():
    limits = AddressLimits(Settings(connects_per_second=1.0), Clock())
    for number in range(3 * MOST):
        assert not limits.is_too_fast(str(number))
    assert len(limits) <= MOST
    assert limits.is_too_fast(str(3 * MOST - 1)), "the newest are those that are held"


def test_what_is_left_is_not_held():
    clock = Clock()
    limits = AddressLimits(Settings(), clock)
    for address in ("a", "a", None):
        assert limits.enter(address)
        limits.leave(address)
    limits.is_too_fast("a")
    clock.tick(60)
    limits.prune()
    assert len(limits) == 0


def test_many_threads_count_right_while_others_prune():
    limits, errors = AddressLimits(Settings(connects_per_second=10.0)), []
    done = threading.Event()

    def come_and_go(name):
        try:
            for number in range(2_000):
                assert limits.enter("shared")
                limits.is_too_fast(f"{name}-{number}")
                limits.leave("shared")
        except Exception as error:  # noqa: BLE001 - a thread hands it to the test
            errors.append(error)

    def prune():
        try:
            while not done.is_set():
                limits.prune()
        except Exception as error:  # noqa: BLE001 - a thread hands it to the test
            errors.append(error)

    visitors = [threading.Thread(target=come_and_go, args=(name,)) for name in range(4)]
    pruning = threading.Thread(target=prune)
    for thread in (*visitors, pruning):
        thread.start()
    for thread in visitors:
        thread.join()
    done.set()
    pruning.join()
    assert errors == []
    assert not limits._open
