"""What is sent is what the types, and so the JSON Schema and the client's TypeScript, say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from jsonschema import Draft202012Validator

import support
from bridge.protocol.error_codes import TEMPORARY, error_object
from bridge.protocol.event import SERVER_MADE, TYPES, Event
from bridge.protocol.json_types import JobState
from bridge.protocol.request_types import ErrorCode
from bridge.protocol.snapshot import Snapshot
from bridge.reporting.meter import Meter, Reading
from socket_server.journal.journal import Journal
from support.process import ROOT
from support.wire import event_flaws, flaws, schema

#: Events of real jobs of many kinds.
RECORDED = json.loads(
    Path(support.__file__).with_name("recorded").joinpath("0.1.0.json").read_text()
)
QUEUE = {"name": "celery", "ahead": None, "workers": True}
ETA = {"earliest": 2.0, "latest": 3.5, "jobs": 7}
SAMPLE = Meter(lambda: Reading(n=1, total=2)).sample(0)
LINE = {"at": 1.0, "level": "INFO", "message": "line"}
FAILURE = {"class": "ValueError", "message": "no"}


def new_event(kind, seq=0, **data):
    """Return an event of the only task of job ``j``."""
    return Event(job="j", task="j", type=kind, at=1.0, name="n", run=1, seq=seq, data=data)


def new_snapshot(*events):
    """Return the snapshot of what ``new_event`` made."""
    snapshot = Snapshot("j")
    for event in events:
        assert snapshot.apply(event)
    return snapshot


def verdicts():
    """Return the events that only servers send."""
    running = new_snapshot(new_event("started"))
    disturbed = running.disturbance(2.0, "the broker is away")
    stalled = running.verdict(next(iter(running._tasks.values())), "stalled", 2.0, silent=30.0)
    return [disturbed, stalled, running.expectation(2.0, queue=QUEUE, eta=ETA)]


def test_the_schema_is_one_and_describes_every_type():
    Draft202012Validator.check_schema(schema())
    parts = schema()["$defs"]
    assert {"JobEvent", "SnapshotData", "WatchAnswer", "ErrorObject", "EventType"} <= parts.keys()
    assert [name for name, part in parts.items() if not part.get("description")] == []
    place = parts["QueuePlace"]["properties"]["ahead"]
    assert place["description"] == "Tasks ahead of it, an estimate; null while unknown."


@pytest.mark.parametrize("kind", sorted(TYPES - SERVER_MADE))
def test_an_event_of_a_task_is_what_its_type_says(kind):
    event = new_event(kind, bars=[SAMPLE], lines=[LINE], error=FAILURE)
    assert event_flaws(event.encode()) == []


def test_an_event_of_a_server_is_what_its_type_says():
    sent = [event.encode() for event in verdicts()]
    assert {event["type"] for event in sent} == SERVER_MADE
    assert [flaw for event in sent for flaw in event_flaws(event)] == []


@pytest.mark.parametrize("kind", RECORDED)
def test_what_a_server_makes_of_a_real_job_is_what_the_types_say(kind):
    journal = Journal()
    for offset, event in enumerate(RECORDED[kind]["events"]):
        journal.fold(Event.decode(event), offset)
    job = RECORDED[kind]["snapshot"]["job"]
    assert flaws(journal.snapshot(job), "SnapshotData") == []
    events = journal.view(job).events
    assert events
    assert [flaw for event in events for flaw in event_flaws(event)] == []


def test_a_snapshot_is_what_its_type_says_with_all_that_it_may_have():
    waiting = new_snapshot(new_event("queued", total=1))
    waiting.apply(waiting.expectation(2.0, queue=QUEUE, eta=ETA))
    running = new_snapshot(new_event("started"), new_event("progress", 1, bars=[SAMPLE]))
    running.apply(running.disturbance(2.0, "the broker is away"))
    failed = new_snapshot(new_event("failed", error=FAILURE))
    ended = new_snapshot(new_event("succeeded", result={"files": 40}))
    for snapshot in (waiting, running, failed, ended):
        assert flaws(snapshot.encode(), "SnapshotData") == []
    assert waiting.encode()["queue"] == QUEUE


@pytest.mark.parametrize("code", get_args(ErrorCode))
def test_an_error_is_what_its_type_says_and_its_code_is_in_the_docs(code):
    assert flaws(error_object(code, "No.", retry_after=1.5, shard=2), "ErrorObject") == []
    assert f"`{code}`" in (ROOT / "docs" / "protocol.md").read_text()


def test_an_error_with_an_unknown_code_is_none():
    assert flaws({**error_object("internal", "No."), "code": "gone"}, "ErrorObject")
    assert set(get_args(ErrorCode)) >= TEMPORARY


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"type": "gone"}, "'gone' is not one of"),
        ({"run": "1"}, "'1' is not of type 'integer'"),
        ({"at": None}, "None is not of type 'number'"),
        ({"data": []}, "[] is not of type 'object'"),
        ({"secret": 1}, "'secret' was unexpected"),
        ({"data": {"bars": [{**SAMPLE, "n": None}]}}, "None is not of type 'number'"),
        ({"data": {"lines": [{"message": "line"}]}}, "'at' is a required property"),
        ({"data": {"error": {"class": "A"}}}, "'message' is a required property"),
    ],
)
def test_another_event_is_none(change, flaw):
    assert flaw in " ".join(event_flaws({**new_event("progress").encode(), **change}))


@pytest.mark.parametrize("field", sorted(new_snapshot(new_event("started")).encode()))
def test_a_snapshot_of_which_something_is_wrong_is_none(field):
    snapshot = new_snapshot(new_event("started")).encode()
    # An object without its fields is the wrong type for any of them, but for `meta`.
    wrong = [] if field == "meta" else {}
    assert flaws({**snapshot, field: wrong}, "SnapshotData")


@pytest.mark.parametrize("state", get_args(JobState))
def test_a_state_that_is_none_is_refused_in_a_task_of_a_snapshot(state):
    snapshot = new_snapshot(new_event("started")).encode()
    [task] = snapshot["tasks"]
    assert flaws({**snapshot, "tasks": [{**task, "state": state}]}, "SnapshotData") == []
    assert flaws({**snapshot, "tasks": [{**task, "state": f"{state}?"}]}, "SnapshotData")
