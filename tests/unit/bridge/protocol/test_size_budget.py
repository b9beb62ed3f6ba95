"""Snapshots are bounded, whatever a task said, and say how much there is beyond."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.event import Event, finite_json
from bridge.protocol.size_budget import shorter, size
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.snapshot_texts import MAX_SNAPSHOT

LONG = "\U0001f600" * 15_000
BAR = {"position": 0, "desc": "d", "unit": "it", "n": 1, "total": None, "rate": 1.5}
STEP = {"id": 1, "parent": None, "name": "s" * 90, "state": "running", "started_at": 1.5}
END = {"queue": {"name": "q"}, "reason": LONG}


def event(kind, task="j", run=1, seq=0, tick=0, name="n", **data):
    return Event(
        job="j", task=task, type=kind, run=run, seq=seq, tick=tick, at=1.0, name=name, data=data
    )


def snapshot_of(*events):
    snapshot = Snapshot("j")
    for one in events:
        snapshot.apply(one)
    return snapshot


LARGE = {
    "a result": [event("started"), event("succeeded", seq=1, result=[LONG])],
    "a result that is no flag": [event("succeeded", result_omitted=LONG)],
    "an error": [event("failed", error={"class": LONG, "message": LONG, "more": [LONG]})],
    "a traceback": [event("failed", error={"class": "E", "message": "m", "traceback": LONG})],
    "an error that is no text": [event("failed", error={"message": [LONG]})],
    "a reason": [event("retrying", reason=LONG)],
    "bars": [event("progress", bars=[BAR] * 1_000)],
    "steps": [event("progress", steps=[STEP] * 1_000)],
    "a step": [event("progress", steps=[{**STEP, "name": LONG, "more": LONG}, STEP])],
    "steps of many tasks": [
        event("progress", task=f"t{number}", steps=[STEP] * 32, steps_omitted=2**62)
        for number in range(110)
    ],
    "a bar": [event("progress", bars=[{**BAR, "desc": LONG, "unit": LONG, "more": LONG}] * 3)],
    "meta": [event("progress", meta={"a": "b", "long": LONG})],
    "much meta": [event("progress", meta={str(n): "x" * 50 for n in range(1_000)})],
    "tasks": [
        event("progress", task=f"t{number}", bars=[BAR] * 100, meta={"x": "y" * 3_000})
        for number in range(200)
    ],
    "names": [event("started", task=LONG[:255] + str(n), name=LONG[:255]) for n in range(100)],
    "tasks that ended with many bars": [
        one
        for number in range(100)
        for one in (
            event("progress", task=f"t{number}", bars=[BAR] * 300),
            event("failed", task=f"t{number}", seq=1, error={"message": LONG}),
        )
    ],
}


@pytest.mark.parametrize("what", LARGE)
def test_a_snapshot_is_never_larger_than_it_may_be(what):
    snapshot = snapshot_of(*LARGE[what])
    assert size(snapshot.encode()) > MAX_SNAPSHOT
    encoded = snapshot.encode(MAX_SNAPSHOT)
    assert size(encoded) <= MAX_SNAPSHOT
    assert encoded["total"] == snapshot.total
    client = Snapshot.decode(json.loads(finite_json(encoded)))
    assert client.encode() == encoded
    client.apply(event("log", task="another"))
    assert client.done == snapshot.done
    assert client.total in (snapshot.total, snapshot.total + 1)  # it may be one that is not listed


PLAIN = [
    event("started", attempt=1),
    event("progress", tick=1, bars=[BAR] * 20, meta={"a": [1, 2]}),
    event("failed", seq=1, error={"class": "E", "message": "x" * 3_000, "traceback": "t" * 3_000}),
]


@given(st.integers(1, 3))
def test_what_ordinary_jobs_tell_is_left_as_it_is(count):
    snapshot = snapshot_of(*PLAIN[:count])
    assert snapshot.encode(MAX_SNAPSHOT) == snapshot.encode()
    assert shorter(snapshot.encode()) == snapshot.encode()


def test_of_many_tasks_those_that_go_on_are_listed_first():
    ended = [event("succeeded", task=f"ended {number}") for number in range(90)]
    running = [event("progress", task=f"running {number}", bars=[BAR]) for number in range(10)]
    tasks = snapshot_of(*ended, *running).encode(MAX_SNAPSHOT)["tasks"]
    assert {one["task"] for one in tasks} >= {f"running {number}" for number in range(10)}
    assert len(tasks) > 50


def test_tasks_are_listed_before_their_steps_of_which_the_newest_are_kept_and_the_rest_counted():
    steps = [{**STEP, "id": number} for number in range(32)]
    many = [event("progress", task=f"t{number:02}", steps=steps) for number in range(60)]
    tasks = snapshot_of(*many).encode(MAX_SNAPSHOT)["tasks"]
    assert len(tasks) == 60
    assert tasks[0]["steps"] == steps
    some = next(task for task in tasks if len(task.get("steps", [])) not in (0, 32))
    assert some["steps"] == steps[-len(some["steps"]) :]
    assert [len(task.get("steps", [])) + task.get("steps_omitted", 0) for task in tasks] == [
        32
    ] * 60


def test_of_what_is_too_long_the_part_that_matters_is_kept():
    said = {"class": "E", "message": "m" * 50_000, "traceback": "t" * 50_000 + "last line"}
    error = snapshot_of(event("failed", error=said)).encode(MAX_SNAPSHOT)["error"]
    assert (error["class"], error["message"][:3]) == ("E", "mmm")
    assert error["traceback"].endswith("last line")
    meta = {**{str(n): "x" * 50 for n in range(1_000)}, "newest": 1}
    assert "newest" in snapshot_of(event("progress", meta=meta)).encode(MAX_SNAPSHOT)["meta"]
    [bar] = snapshot_of(event("progress", bars=[{**BAR, "desc": LONG}])).encode(9_000)["bars"]
    assert {**bar, "desc": "d"} == BAR
    assert bar["desc"].startswith("\U0001f600")
