"""What a server answers, and says unasked, is what the protocol's types say."""

from __future__ import annotations

import json
import time

import pytest

from bridge import tokens
from bridge.protocol.event import Event
from support.lone_server import SECRET, LoneClient, new_lone_server
from support.wire import flaws

SCOPE = "watch cancel enqueue"


@pytest.fixture
def server():
    return new_lone_server(tasks=("app.*",))


@pytest.fixture
def client(server):
    """A client of an owner with one running job, ``j``."""
    for seq, kind in enumerate(["started", "log"]):
        event = Event(
            job="j",
            task="j",
            name="app.work",
            owner="me",
            type=kind,
            at=time.time(),
            run=1,
            seq=seq,
        )
        server.journal.fold(event, seq)
    client = LoneClient(server)
    client.connect(token())
    return client


def token(**claims):
    """Return a token of that owner."""
    return tokens.sign([SECRET], **{"owner": "me", "scope": SCOPE, **claims})


@pytest.mark.parametrize(
    ("request_name", "payload", "kind"),
    [
        ("watch", {"job": "j"}, "Watch"),
        ("watch", {"job": "j", "cursor": None}, "Watch"),
        ("unwatch", {"job": "j"}, "Unwatch"),
        ("jobs", {}, "Jobs"),
        ("jobs", {"limit": 3, "state": "running"}, "Jobs"),
        ("tasks", {"job": "j", "limit": 1}, "Tasks"),
        ("cancel", {"job": "j"}, "Cancel"),
        ("refresh", {"token": "a new one"}, "Refresh"),
        ("enqueue", {"name": "app.work", "args": [1], "kwargs": {"a": 1}}, "Enqueue"),
    ],
)
def test_an_answer_is_what_its_type_says(client, request_name, payload, kind):
    if request_name == "refresh":  # not made where tests are collected: it would have expired
        payload = {"token": token()}
    answer = client.ask(request_name, payload)
    assert flaws(payload, f"{kind}Request") == []
    assert flaws(answer, f"{kind}Answer") == []


@pytest.mark.parametrize(
    ("request_name", "payload", "code"),
    [
        ("watch", {"job": "other"}, "not_found"),
        ("watch", {}, "bad_request"),
        ("enqueue", {"name": "os.system"}, "task_not_allowed"),
        ("refresh", {"token": "rubbish"}, "unauthorized"),
        ("unknown", {}, "bad_request"),
    ],
)
def test_a_refusal_is_what_its_type_says(client, request_name, payload, code):
    answer = client.ask(request_name, payload)
    assert flaws(answer, "ErrorAnswer") == []
    assert answer["error"]["code"] == code


def test_a_request_over_the_rate_limit_is_refused_as_the_type_says(client):
    answers = [client.ask("unwatch", {"job": "j"}) for _ in range(200)]
    assert flaws(answers[-1], "ErrorAnswer") == []
    assert answers[-1]["error"]["retry_after"] > 0


def test_a_refused_connection_is_told_what_the_type_says(server):
    packet = LoneClient(server).connect("rubbish")
    refusal = json.loads(packet.removeprefix("4/jobs,"))
    assert flaws(refusal["data"], "ErrorObject") == []


def test_a_page_that_is_not_the_last_is_what_its_type_says(server, client):
    event = Event(job="k", task="k", name="app.work", owner="me", type="queued", at=time.time())
    server.journal.fold(event, 9)
    answer = client.ask("jobs", {"limit": 1})
    assert flaws(answer, "JobsAnswer") == []
    assert answer["next"]
    assert answer["counts"] == {"queued": 1, "running": 1, "ended": 0}


def test_a_client_whose_token_expires_is_told_what_the_type_says(server):
    client = LoneClient(server)
    client.connect(token(ttl=20))
    server.jobs.expire()
    [packet] = client.told()
    name, notice = json.loads(packet.removeprefix("2/jobs,"))
    assert name == "token_expiring"
    assert flaws(notice, "TokenExpiring") == []


def test_what_an_answer_may_not_be_is_found(client):
    answer = client.ask("watch", {"job": "j"})
    for wrong in ({"ok": False}, {"events": [{}]}, {"recovered": 1}, {"secret": 1}):
        assert flaws({**answer, **wrong}, "WatchAnswer")
