"""The client's snapshot.ts folds events into what bridge/protocol/snapshot.py does.

All that a snapshot says is compared, at several points of each story. The counts ``planned`` and
``spawned``, and ``seq`` and ``tick`` of a task, are compared by what follows from them, since the
client keeps them to itself.
"""

from __future__ import annotations

import functools
import random

from bridge.protocol.event import TERMINAL
from bridge.protocol.snapshot import MAX_TASKS, Snapshot
from socket_server.journal.journal import MAX_SNAPSHOT
from support.server_events import event
from support.stories import FEW, MANY, ONE, story
from support.twin import answers, assert_alike, look

#: Tasks, events of a story, part of the ends that are failures, noise, number of stories.
KINDS = {
    "one task": (ONE, 30, 0.3, 0.0, 50),
    "few tasks": (FEW, 60, 0.1, 0.05, 80),
    "noise": (FEW, 26, 0.3, 1.0, 100),
    "many tasks": (MANY, 600, 0.002, 0.005, 8),
    "many tasks that fail": (MANY, 500, 0.1, 0.02, 4),
}
#: Attributes of the Python snapshot that are called as their fields.
ATTRIBUTES = (
    *("state", "at", "queued_at", "started_at", "ended_at", "total", "done", "bars", "meta"),
    *("cancelling", "stalled", "disturbed", "dropped", "incomplete"),
)


def given_by_server(chance, events):
    """Return the snapshot with which a client begins that comes after some events."""
    server = Snapshot("job")
    for one in events:
        server.apply(one)
    start = server.encode(MAX_SNAPSHOT)
    if chance.random() < 0.2:
        del start["disturbed"], start["saved"]  # as a server of version 0.1.0
    return start


def sent_by_server(before, events):
    """Return events as a server sends them that has folded in those before."""
    server, told = Snapshot("job"), []
    for one in before:
        server.apply(one)
    for one in events:
        known = server.apply(one) and server.totals(one)
        told.append({**one.encode(), **({"totals": known} if known else {})})
    return told


def from_result(chance):
    """Return the snapshot of a job that only the result backend has."""
    state = chance.choice(["queued", "running", "retrying", *sorted(TERMINAL)])
    ended_at = 999.5 if state in TERMINAL else None
    outcome = {"result": 7} if state == "succeeded" else {"error": None, "reason": "r"}
    times = {"at": 999.5, "ended_at": ended_at, "total": 1, "done": int(state in TERMINAL)}
    return {**Snapshot("job").encode(), "state": state, **times, **outcome, "source": "result"}


def stories(tasks, length, failing, noisy, count):
    """Return stories, and of each the snapshot and the events that are left, for Python."""
    chance = random.Random(20)
    for number in range(count):
        events = story(chance, tasks, length, failing=failing, noisy=noisy)
        # Of four stories, one is joined from the beginning, and one knows a result alone.
        cut = chance.randrange(len(events)) if number % 4 > 1 else 0
        start = given_by_server(chance, events[:cut]) if cut else None
        start = from_result(chance) if number % 4 == 1 and noisy else start
        left = events[cut:]
        told = sent_by_server(events[:cut], left) if number % 2 else [one.encode() for one in left]
        looks = sorted({0, 1, 3, len(left), *(chance.randrange(len(left) + 1) for _ in range(4))})
        yield {"start": start, "events": told, "looks": looks}, left


def folded(told, events):
    """Return what bridge/protocol/snapshot.py makes of a story."""
    snapshot = Snapshot.decode(told["start"]) if told["start"] else Snapshot("job")
    news, states = [], []
    for number in range(len(events) + 1):
        if number in told["looks"]:
            states.append(look(snapshot))
        if number < len(events):
            news.append(snapshot.apply(events[number], told["events"][number].get("totals")))
    return {"news": news, "states": states}


@functools.cache
def made(kind):
    """Return stories of a kind, and of each what Python makes of it."""
    found = list(stories(*KINDS[kind]))
    return [told for told, _ in found], [folded(*one) for one in found]


def test_the_page_and_the_server_fold_alike(tmp_path):
    told = [one for kind in KINDS for one in made(kind)[0]]
    wanted = [one for kind in KINDS for one in made(kind)[1]]
    assert_alike(answers("snapshots", told, tmp_path), wanted, told)


def test_meta_that_a_task_sends_again_does_not_override_that_of_an_unlisted_task(tmp_path):
    sent = {"bars": [], "meta": {"x": [2]}}
    listed = [f"task-{number:03}" for number in range(MAX_TASKS)]
    before = [event(task, "progress", 1.0, sent, (1, 0, 1)) for task in listed]
    before.append(event("newest", "progress", 2.0, {"bars": [], "meta": {"x": 3}}, (2, 0, 1)))
    before.append(event("newest", "succeeded", 2.0, {}, (2, 1, 0)))
    again = [event(listed[-1], "progress", 3.0, sent, (1, 0, 2))]
    start = given_by_server(random.Random(1), before)
    told = {"start": start, "events": [one.encode() for one in again], "looks": [1]}
    wanted = folded(told, again)
    assert wanted["states"][0]["meta"] == {"x": 3}
    assert_alike(answers("snapshots", [told], tmp_path), [wanted], [told])


def test_the_attributes_of_a_snapshot_that_was_sent_have_the_values_that_were_sent():
    for start in [told["start"] for kind in KINDS for told in made(kind)[0] if told["start"]]:
        snapshot = Snapshot.decode(start)
        assert {name: getattr(snapshot, name) for name in ATTRIBUTES} == {
            name: start.get(name) for name in ATTRIBUTES
        }


def test_the_stories_go_beyond_what_a_snapshot_lists_and_have_all_that_there_is_to_compare():
    seen = set()
    for state in [state for kind in KINDS for one in made(kind)[1] for state in one["states"]]:
        seen |= {state["state"], *(name for name in state if state[name])}
        seen |= {name for task in state["tasks"] for name in task if task[name]}
        if state["done"] < state["total"] and len(state["tasks"]) == MAX_TASKS < state["total"]:
            seen.add("unlisted")
    assert seen >= {"queued", "running", "retrying", "cancelling", *TERMINAL, "unlisted"}
    assert seen >= {"bars", "presumed", "stalled", "incomplete", "disturbed", "queue", "eta"}
    assert seen >= {"meta", "error", "reason", "retry_at", "result", "result_omitted", "dropped"}
    assert seen >= {"steps", "steps_omitted"}
