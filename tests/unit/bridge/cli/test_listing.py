"""``taskbridge jobs``: all pages of a list, and no more than was asked for."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from bridge.cli import listing

BRIDGE = SimpleNamespace(token=lambda owner: "token", shard=lambda owner: None)


@pytest.fixture
def asked(monkeypatch):
    """What a server is asked that has seven jobs and lists three on a page."""
    payloads = []

    def request(bridge, name, payload, token, shard):
        payloads.append(payload)
        begin = int(payload.get("next", 0))
        end = min(begin + min(3, payload["limit"]), 7)
        rest = {"next": str(end)} if end < 7 else {}
        return {"jobs": [{"job": number} for number in range(begin, end)], **rest}

    monkeypatch.setattr(listing, "request", request)
    return payloads


@pytest.mark.parametrize(("limit", "count", "pages"), [(50, 7, 3), (3, 3, 1), (5, 5, 2), (7, 7, 3)])
def test_pages_are_asked_for_until_there_are_enough(asked, capsys, limit, count, pages):
    listing.show(BRIDGE, "me", state="running", limit=limit, as_json=True)
    listed = [json.loads(line)["job"] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(range(count))
    assert len(asked) == pages
    assert {payload["state"] for payload in asked} == {"running"}


def test_a_server_without_pages_is_asked_once(monkeypatch, capsys):
    monkeypatch.setattr(listing, "request", lambda *_: {"jobs": [{"job": 1}]})
    listing.show(BRIDGE, "me", state=None, limit=50, as_json=True)
    assert capsys.readouterr().out == '{"job": 1}\n'
