"""A dropped message ends its task, unless that has ended, waits for its next attempt, or runs."""

from __future__ import annotations

import json
import re
import time
from types import SimpleNamespace

import pytest
from celery import Celery, states
from celery.worker import state as worker_state
from kombu.message import Message

from bridge.instrumentation import dropped_messages, installed
from bridge.instrumentation.header import HEADER
from bridge.protocol.event import Event
from bridge.settings import Settings
from socket_server.journal.journal import Journal


@pytest.fixture
def sent(monkeypatch, tmp_path):
    """The events that were handed to the emitter."""
    sent = []

    def put(run, kind, data):
        told = {**run.execution, **data}
        sent.append(Event(job=run.job, task=run.task, name=run.name, owner=run.owner, type=kind,
                          at=time.time(), run=run.begun, data=told))  # fmt: skip

    monkeypatch.setattr(
        "bridge.instrumentation.poison.emitter_for", lambda settings: SimpleNamespace(put=put)
    )
    monkeypatch.setattr(installed, "_settings", Settings(home=tmp_path))
    return sent


@pytest.fixture
def worker(tmp_path):
    app = Celery(
        broker="memory://", backend=f"db+sqlite:///{tmp_path}/r.sqlite", set_as_current=False
    )
    return SimpleNamespace(app=app, event_dispatcher=None)


def message(*deaths, redelivered=False, **headers):
    """Return what a worker gets of a dropped task."""
    told = [{"reason": reason, "queue": "celery", "count": 1} for reason in deaths]
    own = {"id": "t", "root_id": "t", "task": "a.task", "retries": 0, "x-death": told}
    return Message(
        json.dumps([[], {}, {}]).encode(),
        content_type="application/json",
        content_encoding="utf-8",
        headers={**own, HEADER: {"owner": "o"}, **headers},
        delivery_info={"redelivered": redelivered},
        accept={"application/json"},
    )


def told(kind, run, **data):
    return Event(job="t", task="t", name="a.task", owner="o", type=kind, at=1.0, run=run, data=data)


BEGUN = time.time_ns() // 1000 + 3_600_000_000  # on a host whose clock is an hour ahead
FIRST = {"attempt": 1, "redelivered": False}
#: What a server knows before, and what it makes of a message that expired, or was rejected.
KNOWN = {
    "nothing": ([], "failed", "failed"),
    "it waits": ([told("queued", 0)], "failed", "failed"),
    "it runs": ([told("started", BEGUN, **FIRST)], "running", "failed"),
    "it runs again": (
        [told("started", BEGUN, **FIRST), told("started", BEGUN + 9, attempt=1, redelivered=True)],
        "running",
        "failed",
    ),
    "it was handed back": (
        [told("started", BEGUN, **FIRST), told("retrying", BEGUN + 1, **FIRST)],
        "failed",
        "failed",
    ),
    "it is in its second attempt": (
        [told("started", BEGUN, **FIRST), told("started", BEGUN + 9, attempt=2, redelivered=False)],
        "running",
        "running",
    ),
    "it has succeeded": ([told("succeeded", BEGUN, **FIRST)], "succeeded", "succeeded"),
}


@pytest.mark.parametrize(("before", "expired", "rejected"), KNOWN.values(), ids=KNOWN)
def test_what_servers_make_of_it_depends_on_what_they_know(before, expired, rejected, sent, worker):
    for reason, state in (("expired", expired), ("rejected", rejected)):
        worker.app.backend.forget("t")
        dropped_messages._settle(worker, message(reason))
        journal = Journal()
        for event in [*before, sent.pop()]:
            journal.fold(event)
        assert journal.of("t").state == state, reason


@pytest.mark.parametrize("reason", ["expired", "maxlen"])
def test_a_task_that_runs_though_its_message_was_dropped_ends_as_it_ends(reason, sent, worker):
    dropped_messages._settle(worker, message(reason))
    journal = Journal()
    for event in (told("queued", 0), *sent, told("started", BEGUN, **FIRST)):
        journal.fold(event)
    journal.fold(Event(job="t", task="t", type="succeeded", at=2.0, run=BEGUN, seq=1, data=FIRST))
    assert journal.of("t").state == "succeeded"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("delivery_limit", "delivered too often.*delivery limit of queue celery"),
        ("expired", "message-ttl of queue celery"),
        ("maxlen", "queue celery is full"),
        ("rejected", "a consumer of queue celery rejected it"),
        ("{0} of a later RabbitMQ", r"broker: \{0\} of a later RabbitMQ"),
    ],
)
def test_the_last_reason_is_said_and_stored(reason, text, sent, worker):
    # Celery delays tasks of quorum queues by messages that expire.
    dropped_messages._settle(worker, message(reason, "expired"))
    [event] = sent
    assert event.data["error"]["class"] == "MessageDropped"
    assert re.search(text, event.data["error"]["message"])
    assert worker.app.AsyncResult("t").state == states.FAILURE


@pytest.mark.parametrize("state", [states.SUCCESS, states.REVOKED, states.FAILURE])
def test_what_has_ended_stays_as_it_is(state, sent, worker):
    worker.app.backend.store_result("t", None, state)
    dropped_messages._settle(worker, message("rejected"))
    assert sent == []
    assert worker.app.AsyncResult("t").state == state


def test_an_end_that_another_worker_may_not_have_reported_is_reported(sent, worker):
    worker.app.backend.store_result("t", ValueError(), states.FAILURE)
    dropped_messages._settle(worker, message("rejected", redelivered=True))
    assert [event.type for event in sent] == ["failed"]


def test_a_task_that_may_be_running_is_not_stored_as_failed(sent, worker):
    for reason, state in (("expired", states.STARTED), ("delivery_limit", states.FAILURE)):
        worker.app.backend.store_result("t", None, states.STARTED)
        dropped_messages._settle(worker, message(reason))
        assert worker.app.AsyncResult("t").state == state


def test_a_task_that_this_worker_runs_goes_on(sent, worker, monkeypatch):
    monkeypatch.setattr(worker_state, "reserved_requests", [SimpleNamespace(id="t")])
    dropped_messages._settle(worker, message("delivery_limit"))
    assert sent == []


def test_a_task_that_expired_by_its_own_time_is_left_to_the_servers(sent, worker):
    dropped_messages._settle(worker, message("expired", expires="2020-01-01T00:00:00+00:00"))
    assert sent == []
    dropped_messages._settle(worker, message("expired", expires="2999-01-01T00:00:00+00:00"))
    assert len(sent) == 1


@pytest.mark.parametrize("expires", [{}, [], {"at": 1}, "soon"])
def test_a_task_whose_time_to_expire_is_none_ends(sent, worker, expires):
    dropped_messages._settle(worker, message("expired", expires=expires))
    assert len(sent) == 1


@pytest.mark.parametrize("deaths", [None, 7, [], [7], [{}], [{"reason": 7, "queue": [1]}]])
def test_what_is_no_account_of_its_death_ends_the_task_all_the_same(deaths, sent, worker):
    dropped_messages._settle(worker, message(**{"x-death": deaths}))
    assert [event.type for event in sent] == ["failed"]


def test_what_is_no_task_is_taken_off_the_queue(sent, worker):
    dropped_messages._settle(worker, message("rejected", id=["x"]))
    assert sent == []
