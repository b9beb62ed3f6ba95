"""Whatever becomes of events on their way, they fold to what was, or say that it may not be."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.journal import Journal

TASKS = ("j", "b", "c")


@st.composite
def histories(draw):
    """Return, for each of a few tasks, the events of its runs, in order."""
    return [run for task in TASKS for run in [draw(_of_task(task))] if run]


@st.composite
def _of_task(draw, task):
    events = []
    runs = draw(st.integers(0, 2))
    for run in range(1, runs + 1):
        end = "retrying" if run < runs else draw(st.sampled_from(["succeeded", "failed", None]))
        kinds = ["started", *draw(st.lists(st.sampled_from(["log", "output", "progress"])))]
        events += _run(task, run, [*kinds, *([end] if end else [])])
    return events


def _run(task, run, kinds):
    seq, tick = -1, 0
    for place, kind in enumerate(kinds):
        seq, tick = (seq, tick + 1) if kind == "progress" else (seq + 1, 0)
        step = {"id": place, "parent": None, "name": "s", "state": "running", "started_at": 1.0}
        bars, steps = [{"position": 0, "n": place}], [{**step, "ended_at": None}]
        data = {"started": {"attempt": run}, "progress": {"bars": bars, "steps": steps}}
        yield Event(
            job="j",
            task=task,
            type=kind,
            at=100.0 * run + place,
            owner="o",
            run=run,
            seq=seq,
            tick=tick,
            data=data.get(kind, {}),
        )


@st.composite
def merged(draw, histories):
    """Return events of all tasks in any order that keeps that of each, some of them twice."""
    left = [list(history) for history in histories]
    came = []
    while left := [history for history in left if history]:
        came.append(draw(st.sampled_from(left)).pop(0))
        if draw(st.integers(0, 4)) == 0:
            came.append(draw(st.sampled_from(came)))
    return came


def fold(events):
    snapshot = Snapshot("j")
    for event in events:
        snapshot.apply(event)
    return snapshot.encode()


@given(st.data(), histories())
def test_interleaved_and_repeated_events_fold_to_the_same_snapshot(data, histories):
    expected = fold(event for history in histories for event in history)
    came = data.draw(merged(histories))
    assert fold(came) == expected
    assert not expected["incomplete"]


@given(st.data(), histories())
def test_a_lost_event_is_made_up_for_or_told(data, histories):
    events = [event for history in histories for event in history]
    # Of the last of a run nobody can know that there was one; progress is made up for by the next.
    told = [(event.task, event.run, event.seq) for event in events]
    lost = [
        event
        for event in events
        if event.type != "progress" and (event.task, event.run, event.seq + 1) in told
    ]
    if lost:
        gone = data.draw(st.sets(st.sampled_from(range(len(lost))), min_size=1))
        missing = [lost[number] for number in gone]
        kept = [event for event in events if event not in missing]
        assert fold(kept)["incomplete"] or fold(kept) == fold(events)


@given(st.data(), histories())
def test_who_comes_back_anywhere_has_in_the_end_what_who_stayed_has(data, histories):
    came = data.draw(merged(histories))
    journal = Journal(epoch="e")
    stayed = [message for event in came if (message := journal.fold(event))]
    lasting = [message for message in stayed if message["type"] != "progress"]
    if not stayed:
        return
    left = data.draw(st.integers(0, len(stayed)))
    cursor = stayed[left - 1]["cursor"] if left else None
    view = journal.view("j", cursor)
    before = [message for message in stayed[:left] if message["type"] != "progress"]
    assert view.recovered
    assert [*before, *view.events] == lasting
    snapshot = json.loads(view.snapshot)
    assert snapshot == Snapshot.decode(snapshot).encode() == journal.snapshot("j")
