"""A snapshot: the same state from the same events, however often and late they come."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.event import TERMINAL, TYPES, Event, finite_json
from bridge.protocol.snapshot import MAX_TASKS, Snapshot

RUN, LATER = 1_000, 2_000


def event(kind, task="j", run=RUN, seq=0, tick=0, at=10.0, name="n", owner="o", **data):
    return Event(
        job="j", task=task, type=kind, run=run, seq=seq, tick=tick, at=at, name=name, owner=owner,
        data=data,
    )  # fmt: skip


def bar(n=1, **fields):
    return {"position": 0, "desc": "rows", "n": n, "total": 9, **fields}


def fold(*events, into=None):
    snapshot = into or Snapshot("j")
    for one in events:
        snapshot.apply(one)
    return snapshot


QUEUED = event("queued", run=0, at=1.0, total=1)
STARTED = event("started", seq=0, at=2.0, attempt=1)
PROGRESS = event("progress", tick=1, at=3.0, bars=[bar()])
SUCCEEDED = event("succeeded", seq=1, at=4.0, result=42)
WHOLE = (QUEUED, STARTED, PROGRESS, SUCCEEDED)


def test_a_job_of_one_task_from_its_beginning_to_its_end():
    states, snapshot = [], Snapshot("j")
    for one in WHOLE:
        assert snapshot.apply(one)
        states.append(snapshot.state)
    assert states == ["queued", "running", "running", "succeeded"]
    encoded = snapshot.encode()
    assert encoded["result"] == 42
    assert encoded["error"] is None
    assert (encoded["queued_at"], encoded["started_at"], encoded["ended_at"]) == (1.0, 2.0, 4.0)
    assert (encoded["total"], encoded["done"], encoded["bars"]) == (1, 1, [bar()])
    assert (encoded["name"], encoded["owner"], encoded["incomplete"]) == ("n", "o", False)


@pytest.mark.parametrize("result", [{"result": 3}, {"result_omitted": True}])
@pytest.mark.parametrize("given", [None, 2, 3])
def test_a_client_that_comes_between_two_ends_learns_the_result_of_the_task_that_began_last(
    given, result
):
    """The end of the first task comes late, as a server's verdict on a process that died."""
    events = [
        event("started", "j", RUN),
        event("started", "body", LATER),
        event("succeeded", "body", LATER, 1, **result),
        event("succeeded", "j", RUN, 1, result=1, verdict=True),
    ]
    server, client = Snapshot("j"), Snapshot("j")
    for number, one in enumerate(events):
        if number == given:
            client = Snapshot.decode(server.encode())
        server.apply(one)
        client.apply(one, server.totals(one))
    assert server.encode().items() >= {"state": "succeeded", **result}.items()
    assert client.encode().items() >= {"state": "succeeded", **result}.items()
    client.apply(events[-1], server.totals(events[-1]))
    assert client.encode().items() >= result.items()


def step(number=1, state="running", **fields):
    named = {"id": number, "parent": None, "name": "s"}
    return {**named, "state": state, "started_at": 2.5, "ended_at": None, **fields}


DONE = step(2, "succeeded", ended_at=2.75)
STEPPING = event("progress", tick=1, at=3.0, bars=[], steps=[step(), DONE], steps_omitted=7)
ERROR = {"class": "E", "message": "no"}


@pytest.mark.parametrize(
    ("kind", "data", "state"),
    [
        ("succeeded", {}, "succeeded"),
        ("lost", {"verdict": True, "reason": "silent"}, "lost"),
        ("retrying", {"error": ERROR}, "failed"),
        ("retrying", {}, "lost"),
    ],
)
def test_the_end_of_an_execution_ends_its_open_steps_and_no_others(kind, data, state):
    snapshot = fold(
        STARTED, STEPPING, event(kind, seq=0 if data.get("verdict") else 1, tick=1, at=9.0, **data)
    )
    [task] = snapshot.encode()["tasks"]
    assert task["steps"] == [step(state=state, ended_at=9.0, presumed=True), DONE]
    assert task["steps_omitted"] == 7
    assert Snapshot.decode(snapshot.encode()).task("j").steps == task["steps"]


def test_a_word_of_a_task_that_was_lost_opens_its_steps_again():
    lost = event("lost", tick=1, at=9.0, verdict=True)
    snapshot = fold(STARTED, STEPPING, lost, event("log", seq=1, lines=[]))
    assert snapshot.task("j").steps == [step(), DONE]
    fold(event("failed", seq=2, at=11.0, error=ERROR), into=snapshot)
    assert snapshot.task("j").steps[0] == step(state="failed", ended_at=11.0, presumed=True)


def test_an_attempt_has_steps_of_its_own_and_a_report_of_the_worker_s_parent_keeps_them():
    parent = event("lost", run=RUN + 2, at=9.0, error=ERROR)
    snapshot = fold(STARTED, STEPPING, parent)
    assert [one["state"] for one in snapshot.task("j").steps] == ["lost", "succeeded"]
    snapshot = fold(STARTED, STEPPING, event("retrying", seq=1), event("started", run=LATER))
    [task] = snapshot.encode()["tasks"]
    assert not task.keys() & {"steps", "steps_omitted"}


def test_duplicates_change_nothing():
    snapshot = fold(*WHOLE)
    before = snapshot.encode()
    assert [snapshot.apply(one) for one in WHOLE] == [False] * 4
    assert snapshot.encode() == before


def test_a_snapshot_before_any_event_is_a_queued_job():
    encoded = Snapshot("j").encode()
    assert (encoded["state"], encoded["total"], encoded["done"]) == ("queued", 0, 0)
    finite_json(encoded)


def test_events_of_an_older_run_are_ignored():
    snapshot = fold(
        event("started", run=LATER), event("progress", run=LATER, tick=1, bars=[bar(5)])
    )
    assert not snapshot.apply(event("progress", run=RUN, seq=9, bars=[bar(1)]))
    assert not snapshot.apply(event("succeeded", run=RUN, seq=9))
    assert (snapshot.state, snapshot.bars) == ("running", [bar(5)])


def test_a_retry_is_a_new_attempt_with_bars_of_its_own():
    snapshot = fold(
        STARTED, PROGRESS, event("retrying", seq=1, error={"class": "E", "message": ""})
    )
    assert snapshot.state == "retrying"
    fold(event("started", run=LATER), into=snapshot)
    assert (snapshot.state, snapshot.bars) == ("running", [])
    assert snapshot.encode()["tasks"][0]["attempt"] == 2
    fold(event("succeeded", run=LATER, seq=1), into=snapshot)
    assert snapshot.state == "succeeded"


def test_a_hole_in_the_sequence_marks_the_snapshot_incomplete():
    assert not fold(STARTED, event("log", seq=1)).encode()["incomplete"]
    assert fold(STARTED, event("log", seq=2)).encode()["incomplete"]
    assert fold(event("log", seq=1)).encode()["incomplete"]


def test_a_hole_in_the_ticks_is_none_since_the_latest_wins():
    assert not fold(STARTED, event("progress", tick=50)).encode()["incomplete"]


def test_a_hole_stays_known_after_what_follows():
    assert fold(STARTED, event("log", seq=2), event("log", seq=3)).encode()["incomplete"]


@pytest.mark.parametrize("end", sorted(TERMINAL))
def test_an_end_is_sticky_within_its_run(end):
    snapshot = fold(STARTED, event(end, seq=1))
    for kind in sorted(TYPES - {"cancelling", "queued"}):
        assert not snapshot.apply(event(kind, seq=2, tick=1))
    assert snapshot.state == end


@pytest.mark.parametrize("second", sorted(TERMINAL))
def test_the_parents_second_opinion_about_the_end_is_ignored(second):
    snapshot = fold(STARTED, event("succeeded", seq=1, result=1))
    before = snapshot.encode()
    assert not snapshot.apply(event(second, run=LATER, error={"class": "WorkerLostError"}))
    assert snapshot.encode() == before


def test_the_parents_word_counts_if_the_child_could_not_give_its_own():
    snapshot = fold(STARTED, event("failed", run=LATER, error={"class": "WorkerLostError"}))
    encoded = snapshot.encode()
    assert (encoded["state"], encoded["error"]["class"]) == ("failed", "WorkerLostError")
    assert not encoded["incomplete"]


@pytest.mark.parametrize("end", ["failed", "lost"])
def test_a_job_that_runs_again_after_its_end_is_running_and_may_succeed(end):
    snapshot = fold(STARTED, event(end, seq=1, error={"class": "E", "message": "m"}))
    assert snapshot.apply(event("started", run=LATER, at=20.0))
    assert (snapshot.state, snapshot.ended_at, snapshot.encode()["error"]) == (
        "running",
        None,
        None,
    )
    fold(event("succeeded", run=LATER, seq=1, at=30.0, result=7), into=snapshot)
    encoded = snapshot.encode()
    assert (encoded["state"], encoded["result"], encoded["ended_at"]) == ("succeeded", 7, 30.0)


def test_a_task_that_runs_again_does_not_undo_the_failure_of_another():
    snapshot = fold(
        event("failed", task="a", error={"class": "A"}), event("failed", task="b"),
        event("started", task="b", run=LATER), event("succeeded", task="b", run=LATER, seq=1),
    )  # fmt: skip
    assert (snapshot.state, snapshot.encode()["error"]) == ("failed", {"class": "A"})


def test_a_queued_that_a_fast_worker_overtook_still_tells_when():
    snapshot = fold(STARTED, SUCCEEDED)
    assert not snapshot.apply(QUEUED)
    assert (snapshot.queued_at, snapshot.state) == (1.0, "succeeded")


def test_cancelling_is_told_once_and_gives_way_to_the_end():
    snapshot = fold(QUEUED, STARTED)
    asked = event("cancelling", run=0, name="")
    assert snapshot.apply(asked)
    assert not snapshot.apply(asked)
    assert snapshot.state == "cancelling"
    fold(event("progress", tick=2), into=snapshot)
    assert snapshot.state == "cancelling"
    fold(event("cancelled", seq=1), into=snapshot)
    assert snapshot.state == "cancelled"


def test_a_job_that_ended_is_cancelled_no_more():
    snapshot = fold(*WHOLE)
    before = snapshot.encode()
    assert not snapshot.apply(event("cancelling", run=0, at=99.0))
    assert snapshot.encode() == before


def test_what_was_dropped_is_summed():
    snapshot = fold(event("started", dropped=2), event("log", seq=1, dropped=3))
    assert snapshot.encode()["dropped"] == 5


def test_what_a_task_says_about_itself_is_what_it_said_last():
    snapshot = fold(STARTED)
    assert snapshot.encode()["meta"] == {}
    fold(event("progress", tick=1, meta={"device": "cpu", "epoch": 1}), into=snapshot)
    fold(event("progress", tick=2, meta={"epoch": 2}), into=snapshot)
    assert not snapshot.apply(event("progress", tick=1, meta={"device": "cpu", "epoch": 1}))
    assert snapshot.encode()["meta"] == {"epoch": 2}
    assert snapshot.encode()["tasks"][0]["meta"] == {"epoch": 2}
    fold(event("log", seq=1), event("succeeded", seq=2), into=snapshot)
    assert snapshot.encode()["meta"] == {"epoch": 2}


def test_progress_without_a_word_about_the_task_takes_it_back():
    assert fold(STARTED, event("progress", tick=1, meta={"a": 1}), PROGRESS).meta == {"a": 1}
    assert (
        fold(STARTED, event("progress", tick=1, meta={"a": 1}), event("progress", tick=2)).meta
        == {}
    )


def test_a_new_attempt_says_everything_anew():
    snapshot = fold(STARTED, event("progress", tick=1, meta={"a": 1}), event("retrying", seq=1))
    assert snapshot.meta == {"a": 1}
    fold(event("started", run=LATER), into=snapshot)
    assert snapshot.meta == {}


def test_what_the_tasks_of_a_canvas_say_is_merged_and_the_one_begun_last_has_the_last_word():
    snapshot = fold(
        event("progress", task="b", run=LATER, tick=1, meta={"x": "b", "b": 1}),
        event("progress", task="a", run=RUN, tick=1, meta={"x": "a", "a": 1}),
    )
    assert snapshot.meta == {"x": "b", "a": 1, "b": 1}
    tie = fold(*[event("progress", task=task, tick=1, meta={"x": task}) for task in ("b", "a")])
    assert tie.meta == {"x": "b"}


def test_what_tasks_that_are_not_listed_said_is_kept_by_who_goes_on_from_there():
    ended = []
    for number in range(MAX_TASKS):
        task = f"t{number:03}"
        ended.append(event("progress", task=task, tick=1, meta={task: 1, "x": "unlisted"}))
        ended.append(event("succeeded", task=task, seq=1))
    server = fold(*ended, event("started", task="last", run=LATER))
    client = Snapshot.decode(json.loads(finite_json(server.encode())))
    unlisted = {one.task for one in ended} - {task["task"] for task in server.encode()["tasks"]}
    assert unlisted
    assert client.meta == server.meta
    said = event("progress", task="last", run=LATER, tick=1, meta={"x": "last"})
    assert fold(said, into=client).meta == fold(said, into=server).meta
    assert client.meta["x"] == "last"
    assert all(client.meta[task] == 1 for task in unlisted)


def test_the_last_word_of_a_task_that_is_not_listed_stays_the_last():
    ended = []
    for number in range(MAX_TASKS + 1):
        task, run = f"t{number:03}", RUN + number
        ended.append(event("progress", task=task, run=run, tick=1, meta={"newest": task}))
        ended.append(event("succeeded", task=task, run=run, seq=1))
    server = fold(*ended)
    client = Snapshot.decode(json.loads(finite_json(server.encode())))
    last = event("queued", task="last", run=0)
    assert fold(last, into=client).meta == fold(last, into=server).meta == {"newest": "t100"}


def test_a_canvas_is_over_when_all_its_tasks_are():
    snapshot = Snapshot("j")
    for number in range(3):
        fold(event("queued", task=f"t{number}", run=0, total=4), into=snapshot)
    for number in range(3):
        fold(event("started", task=f"t{number}"), into=snapshot)
        fold(event("succeeded", task=f"t{number}", seq=1), into=snapshot)
        assert snapshot.state == "running"
    fold(event("succeeded", task="body", seq=0, result="sheet", at=50.0), into=snapshot)
    encoded = snapshot.encode()
    assert (encoded["state"], encoded["done"], encoded["total"]) == ("succeeded", 4, 4)
    assert (encoded["result"], encoded["ended_at"]) == ("sheet", 50.0)


def test_of_a_canvas_one_bar_over_all_tasks_comes_first():
    snapshot = fold(
        event("queued", task="a", run=0, total=3, at=0.0),
        event("started", task="a", at=10.0),
        event("succeeded", task="a", seq=1, at=12.0),
        event("started", task="b", at=12.0),
        event("progress", task="b", tick=1, at=20.0, bars=[bar(2)]),
    )
    overall, running = snapshot.bars
    assert (overall["desc"], overall["n"], overall["total"]) == ("tasks", 1, 3)
    assert (overall["elapsed"], overall["rate"], overall["eta"]) == (10, 0.1, 20)
    assert running == bar(2)


def test_one_failed_task_fails_the_canvas_and_its_error_is_the_first():
    snapshot = fold(
        event("queued", task="a", run=0, total=3),
        event("failed", task="a", error={"class": "First"}),
        event("failed", task="b", error={"class": "Second"}),
        event("succeeded", task="c", result=1),
    )
    encoded = snapshot.encode()
    assert (encoded["state"], encoded["error"]) == ("failed", {"class": "First"})
    assert "result" not in encoded


def test_a_task_that_replaced_itself_by_a_canvas_ends_with_it():
    snapshot = fold(event("queued", run=0, total=1), event("started"))
    for child in ("c1", "c2"):
        fold(event("queued", task=child, run=0), into=snapshot)
    for child in ("c1", "c2"):
        fold(event("started", task=child), event("succeeded", task=child, seq=1), into=snapshot)
        assert snapshot.state == "running"
    fold(event("started", run=LATER), into=snapshot)
    assert snapshot.state == "running"
    fold(event("succeeded", run=LATER, seq=1, at=60.0, result="all"), into=snapshot)
    encoded = snapshot.encode()
    assert (encoded["state"], encoded["result"], encoded["ended_at"]) == ("succeeded", "all", 60.0)
    assert (encoded["total"], encoded["done"]) == (3, 3)


def test_a_task_that_spawns_another_keeps_the_job_open_until_that_one_ended_too():
    snapshot = fold(*WHOLE[:3], event("queued", task="child", run=0), SUCCEEDED)
    assert (snapshot.state, snapshot.ended_at) == ("running", None)
    fold(event("succeeded", task="child", result="child's", at=70.0), into=snapshot)
    assert (snapshot.state, snapshot.ended_at) == ("succeeded", 70.0)


def test_the_name_of_a_job_is_that_of_the_task_that_was_asked_for():
    snapshot = fold(
        event("started", task="child", name="child"), event("queued", run=0, name="root")
    )
    assert snapshot.encode()["name"] == "root"


def test_a_long_canvas_lists_those_that_still_run_and_counts_all():
    snapshot = fold(*[event("succeeded", task=f"t{number}") for number in range(MAX_TASKS + 50)])
    fold(event("started", task="last"), into=snapshot)
    encoded = snapshot.encode()
    assert len(encoded["tasks"]) == MAX_TASKS
    assert encoded["tasks"][0]["task"] == "last"
    assert (encoded["done"], encoded["total"]) == (MAX_TASKS + 50, MAX_TASKS + 51)
    follower = Snapshot.decode(encoded)
    fold(event("succeeded", task="last", seq=1), into=follower)
    assert (follower.state, follower.done) == ("succeeded", MAX_TASKS + 51)


@pytest.mark.parametrize("end", ["failed", "cancelled", "lost"])
def test_the_failure_of_a_task_that_is_not_listed_stays_the_jobs_end(end):
    snapshot = fold(event(end, task="a", at=5.0, reason="why"))
    fold(
        *[event("started", task=f"t{number}", at=9.0) for number in range(MAX_TASKS)], into=snapshot
    )
    follower = Snapshot.decode(snapshot.encode())
    for one in (snapshot, follower):
        fold(event("succeeded", task="t0", seq=1, at=10.0), into=one)
    assert follower.encode()["ended_at"] == snapshot.encode()["ended_at"] == 5.0
    assert (follower.state, follower.encode()["reason"]) == (end, "why")


def test_a_hole_in_a_task_that_is_not_listed_stays_known():
    snapshot = fold(event("started", task="a"), event("succeeded", task="a", seq=9))
    fold(*[event("started", task=f"t{number}") for number in range(MAX_TASKS)], into=snapshot)
    follower = Snapshot.decode(snapshot.encode())
    fold(event("succeeded", task="t0", seq=1), into=follower)
    assert follower.incomplete


def test_one_verdict_cancels_all_tasks_that_wait_and_none_that_do_not():
    snapshot = fold(
        event("queued", task="a", run=0, total=4), event("retrying", task="b", seq=1),
        event("started", task="c"), event("succeeded", task="d", seq=1),
    )  # fmt: skip
    assert snapshot.apply(snapshot.sweep(9.0, "why"))
    states = {one["task"]: (one["state"], one["presumed"]) for one in snapshot.encode()["tasks"]}
    gone = ("cancelled", True)
    assert states == {"a": gone, "b": gone, "c": ("running", False), "d": ("succeeded", False)}
    assert (snapshot.done, snapshot.state, snapshot.ended_at) == (3, "cancelled", 9.0)
    assert not snapshot.apply(snapshot.sweep(10.0, "why"))
    assert [one.data for one in snapshot.verdicts(9.0)] == [
        {"verdict": True, "waiting": True, "reason": "why"}
    ]


def test_a_verdict_that_a_task_is_tried_again_is_repeated_until_it_begins():
    snapshot = fold(event("started", task="a"))
    gone = snapshot.verdict(snapshot.task("a"), "retrying", 8.0, reason="its worker is gone")
    assert snapshot.apply(gone)
    assert (snapshot.state, snapshot.ended_at) == ("retrying", None)
    [repeated] = snapshot.verdicts(9.0)
    assert (repeated.type, repeated.at, repeated.data) == ("retrying", 9.0, gone.data)
    fold(event("started", task="a", run=RUN + 1), into=snapshot)
    assert (snapshot.state, list(snapshot.verdicts(9.0))) == ("running", [])


def test_a_task_that_began_all_the_same_overturns_the_verdict_about_what_waits():
    snapshot = fold(event("queued", task="a", run=0, total=1), event("cancelling", run=0))
    fold(snapshot.sweep(9.0, "why"), into=snapshot)
    assert snapshot.state == "cancelled"
    fold(event("started", task="a"), into=snapshot)
    assert snapshot.state == "cancelling"
    fold(event("succeeded", task="a", seq=1), into=snapshot)
    assert (snapshot.state, list(snapshot.verdicts(9.0))) == ("succeeded", [])


def verdict(kind, run=RUN, seq=0, tick=0, **data):
    return event(kind, run=run, seq=seq, tick=tick, verdict=True, **data)


def test_a_client_that_is_a_tick_behind_accepts_a_verdict_and_one_that_is_ahead_does_not():
    snapshot = fold(event("started"))
    assert snapshot.apply(verdict("stalled", tick=3))
    assert snapshot.stalled
    assert not snapshot.apply(verdict("lost", tick=2))
    assert snapshot.apply(verdict("lost", tick=3, reason="silent"))
    assert (snapshot.state, snapshot.encode()["reason"]) == ("lost", "silent")
    assert snapshot.apply(event("progress", seq=0, tick=4, bars=[]))
    assert (snapshot.state, snapshot.stalled, snapshot.incomplete) == ("running", False, False)


def test_a_redelivered_task_counts_as_another_attempt_though_it_says_the_same_number():
    snapshot = fold(event("started", attempt=1), event("started", run=LATER, attempt=1))
    assert snapshot.encode()["tasks"][0]["attempt"] == 2


def test_the_word_of_a_workers_parent_about_a_run_is_no_attempt():
    snapshot = fold(event("started", attempt=1), event("failed", run=LATER))
    assert snapshot.encode()["tasks"][0]["attempt"] == 1


def test_what_a_task_adds_is_counted_once():
    child = event("queued", task="child", run=0, more=3)
    snapshot = fold(event("queued", run=0, total=2), child)
    fold(event("started", task="child", more=3), into=snapshot)
    assert (snapshot.total, snapshot.encode()["spawned"]) == (5, 3)
    follower = Snapshot.decode(snapshot.encode())
    fold(event("succeeded", task="child", seq=1), into=follower)
    assert follower.total == 5


ends = st.fixed_dictionaries(
    {},
    optional={
        "result": st.integers(0, 9),
        "error": st.just({"class": "E"}),
        "reason": st.sampled_from(["r", "s"]),
        "retry_at": st.floats(0, 9),
        "verdict": st.booleans(),
        "waiting": st.booleans(),
    },
)
data = st.fixed_dictionaries(
    {},
    optional={
        "total": st.integers(0, 4),
        "more": st.integers(0, 2),
        "dropped": st.integers(0, 3),
        "attempt": st.integers(1, 3),
        "bars": st.lists(st.builds(bar, st.integers(0, 9)), max_size=2),
        "meta": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9), max_size=2),
    },
)
events = st.builds(
    Event,
    job=st.just("j"),
    task=st.sampled_from(["j", "a", "b"]),
    type=st.sampled_from(sorted(TYPES)),
    at=st.integers(0, 50).map(float),
    name=st.sampled_from(["n", "m"]),
    owner=st.sampled_from([None, "o"]),
    run=st.sampled_from([0, RUN, LATER]),
    seq=st.integers(0, 3),
    tick=st.integers(0, 2),
    data=st.one_of(data, ends),
)


def dated(some, first):
    """Return events whose clocks disagree with their order, no two of them at the same time."""
    return [replace(one, at=float((first + index) * 7 % 31)) for index, one in enumerate(some)]


def comparable(snapshot):
    """Return an encoded snapshot whose lists have an order of their own."""
    encoded = snapshot.encode()
    return {**encoded, **{name: sorted(encoded[name], key=repr) for name in ("tasks", "bars")}}


@given(st.lists(events, max_size=12), st.lists(events, max_size=6))
def test_a_client_that_goes_on_from_a_snapshot_sees_what_the_server_sees(before, after):
    before, after = dated(before, 0), dated(after, 12)
    server = fold(*before)
    client = Snapshot.decode(json.loads(finite_json(server.encode())))
    for one in after:
        assert client.apply(one) == server.apply(one)
        assert comparable(client) == comparable(server)


@given(st.lists(events, max_size=12))
def test_folding_all_events_again_changes_nothing(some):
    # Each run's events arrive in their order; what was lost or cut off is read again from there.
    some.sort(key=lambda one: one.order)
    snapshot = fold(*some)
    before = snapshot.encode()
    for one in some:
        # A late one of these still tells something; a verdict is about what is known when it comes.
        if one.type not in ("queued", "cancelling") and not one.verdict:
            assert not snapshot.apply(one)
    assert snapshot.encode() == before


@given(st.lists(events, max_size=12))
def test_every_snapshot_is_json_and_its_numbers_agree(some):
    encoded = fold(*some).encode()
    finite_json(encoded)
    assert 0 <= encoded["done"] <= encoded["total"]
    assert (encoded["ended_at"] is not None) == (encoded["state"] in TERMINAL)
    assert len(encoded["tasks"]) <= encoded["total"]
