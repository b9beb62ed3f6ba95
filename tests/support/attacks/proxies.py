"""Too many of one address, and addresses that somebody makes up."""

from __future__ import annotations

import time
import uuid
from contextlib import ExitStack

from support.attacks import Target, attack
from support.attacks.smuggling import REFUSED

#: Ways to say that one is somebody else, whose address is filled in.
CLAIMS = (
    "X-Forwarded-For: {}",
    "X_Forwarded_For: {}",
    "X-Forwarded-For: {}:1234",
    'Forwarded: for="{}"',
    "X-Real-IP: {}",
    "True-Client-IP: {}",
    "X-Client-IP: {}",
    "X-Forwarded-For: {}\r\nX-Forwarded-For: {}",
    "x-FORWARDED-for: {}, {}, {}",
    "Remote-Addr: {}",
)


def is_within_the_rate(target: Target, admitted: int, begun: float) -> bool:
    """Whether no more was admitted since a time than an address may."""
    rate = target.bridge.settings.connects_per_second
    return admitted <= rate * (time.monotonic() - begun + 1) + 1


def ask_for_websockets(target: Target, *headers: str) -> None:
    """Ask for more WebSockets than an address may within a second; assert that some are refused."""
    begun, admitted = time.monotonic(), 0
    for number in range(4 * int(target.bridge.settings.connects_per_second)):
        made_up = f"10.{number // 250}.{number % 250}.7"
        claims = [header.replace("{}", made_up) for header in headers]
        with target.raw() as raw:
            status = raw.upgrade(*claims).status
        assert status in (0, 101, 429)
        admitted += status == 101
    assert is_within_the_rate(target, admitted, begun)


@attack
def websockets_faster_than_an_address_may(target: Target) -> None:
    ask_for_websockets(target)


@attack
def websockets_of_addresses_that_are_made_up(target: Target) -> None:
    """A new address in each request is no new address."""
    ask_for_websockets(target, *CLAIMS)


@attack
def requests_in_the_name_of_an_honest_client(target: Target) -> None:
    """Its limits are not used up by whoever says that it is its address."""
    begun, admitted = time.monotonic(), 0
    for number in range(4 * int(target.bridge.settings.connects_per_second)):
        claim = CLAIMS[number % len(CLAIMS)].replace("{}", "127.0.0.1")
        with target.raw() as raw:
            status = raw.request("GET /readyz HTTP/1.1", claim, "Connection: close").status
        admitted += status == 200
    assert is_within_the_rate(target, admitted, begun)
    with target.raw(address="127.0.0.1") as raw:
        assert raw.request("GET /readyz HTTP/1.1").status == 200


@attack
def more_websockets_than_an_address_may_have(target: Target) -> None:
    """Each with a token of an owner of its own."""
    most = target.bridge.settings.max_connections_per_address
    with ExitStack() as stack:
        for number in range(most):
            raw = stack.enter_context(target.raw().open())
            token = target.bridge.token(owner=f"{target.own}-{number}")
            assert raw.connect(token).startswith("40/jobs,")
        refused = [stack.enter_context(target.raw()).upgrade().status for _ in range(3)]
    assert set(refused) <= {0, 429}


@attack
def chains_of_proxies_that_are_none(target: Target) -> None:
    for chain in (
        "rubbish",
        "unknown, _hidden",
        ",,,,",
        "127.0.0.1:99999",
        "[::1",
        "::ffff:127.0.0.1",
        "fe80::1%eth0",
        "1.2.3.4, " * 600,
        "0x7f000001",
        "2130706433",
        "\xff\xfe",
        "127.0.0.1\tx",
    ):
        with target.raw() as raw:
            status = raw.request("GET /api/page HTTP/1.1", f"X-Forwarded-For: {chain}").status
            assert status in (401, *REFUSED), chain


@attack
def hosts_and_schemes_that_are_made_up(target: Target) -> None:
    for header in (
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Proto: javascript",
        "X-Forwarded-Prefix: /evil.example",
        "X-Forwarded-Port: evil.example",
        "Forwarded: host=evil.example;proto=https",
        "SCRIPT_NAME: /evil.example",
        "X-Original-Host: evil.example",
    ):
        with target.raw() as raw:
            reply = raw.request("GET /static//client.js HTTP/1.1", header)
            assert reply.status in (308, *REFUSED)
            location = reply.headers.get("location", "")
            assert "evil.example" not in location
            assert "javascript" not in location


@attack
def lookups_that_take_their_time(target: Target) -> None:
    """Each waits for a job that is not there: so many at once, and no more, are of one address."""
    most = target.bridge.settings.max_connections_per_address
    token = target.bridge.token(owner=target.own)
    with ExitStack() as stack:
        raws = [stack.enter_context(target.raw()) for _ in range(most)]
        for raw in raws:
            line = f"GET /api/jobs/{uuid.uuid4()} HTTP/1.1"
            raw.request_head(line, f"Authorization: Bearer {token}")
        statuses = {raw.reply().status for raw in raws}
    assert statuses <= {0, 404, 429}, statuses
