"""``taskbridge jobs``: all pages of a list, and no more than was asked for."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from bridge.cli import listing

BRIDGE = SimpleNamespace(
    token=lambda owner, scope, shard: f"{owner} {scope} {shard}",
    shard=lambda owner: 0,
    settings=SimpleNamespace(shards=1),
)


def job(number):
    return {"job": number, "queued_at": 9.0 - number}


@pytest.fixture
def asked(monkeypatch):
    """What a server is asked that has seven jobs and lists three on a page."""
    payloads = []

    def request(bridge, name, payload, token, shard):
        payloads.append(payload)
        begin = int(payload.get("next", 0))
        end = min(begin + min(3, payload["limit"]), 7)
        rest = {"next": str(end)} if end < 7 else {}
        return {"jobs": [job(number) for number in range(begin, end)], **rest}

    monkeypatch.setattr(listing, "request", request)
    return payloads


@pytest.mark.parametrize(("limit", "count", "pages"), [(50, 7, 3), (3, 3, 1), (5, 5, 2), (7, 7, 3)])
def test_pages_are_asked_for_until_there_are_enough(asked, capsys, limit, count, pages):
    listing.show(BRIDGE, "me", {"state": "running"}, limit=limit, as_json=True)
    listed = [json.loads(line)["job"] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(range(count))
    assert len(asked) == pages
    assert {payload["state"] for payload in asked} == {"running"}


def test_a_server_without_pages_is_asked_once(monkeypatch, capsys):
    monkeypatch.setattr(listing, "request", lambda *_: {"jobs": [job(1)]})
    listing.show(BRIDGE, "me", {}, limit=50, as_json=True)
    assert capsys.readouterr().out == '{"job": 1, "queued_at": 8.0}\n'


def test_without_an_owner_the_servers_of_all_shards_are_asked_by_an_operator(monkeypatch, capsys):
    tokens = []

    def request(bridge, name, payload, token, shard):
        tokens.append((token, shard))
        return {"jobs": [job(shard), job(5)], "archive_away": shard == 1}

    monkeypatch.setattr(listing, "request", request)
    two = SimpleNamespace(**{**vars(BRIDGE), "settings": SimpleNamespace(shards=2)})
    listing.show(two, None, {}, limit=50, as_json=True)
    printed = capsys.readouterr()
    assert [json.loads(line)["job"] for line in printed.out.splitlines()] == [0, 1, 5]
    assert tokens == [(f"taskbridge watch operate {n}", n) for n in (0, 1)]
    assert printed.err.startswith("the archive did not answer")
