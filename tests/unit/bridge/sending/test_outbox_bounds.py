"""What waits to be sent is bounded in bytes; what is dropped goes in order, and is told."""

from __future__ import annotations

import itertools
import sys
import threading
from collections import Counter

import pytest

from bridge.protocol.event import MAX_EVENT_BYTES, Event, finite_json
from bridge.protocol.snapshot import Snapshot
from bridge.reporting.run import Run
from bridge.sending.allowance import Shares
from bridge.sending.losses import PUSHES_DROPPED
from bridge.sending.outage import Outage
from bridge.sending.outbox import Outbox, Push, Report
from support.clock import Clock

BOUND = 300_000


@pytest.fixture
def outbox():
    return Outbox(max_bytes=BOUND)


def new_run(task="t", job="j", **options):
    return Run(**{"job": job, "task": task, "name": "n", **options})


def put_task(outbox, task, job="j", kind="succeeded", **data):
    run = new_run(task, job)
    outbox.put(Report(run, "started", {"attempt": 1, "total": 5000}, 1.0))
    outbox.put(Report(run, kind, data, 2.0))
    return run


def gathered(outbox):
    entries = []
    while outbox:
        entries += outbox.gather()
    return entries


def events_of(outbox):
    return [entry for entry in gathered(outbox) if isinstance(entry, Event)]


def fold(events, job="j"):
    snapshot = Snapshot(job)
    for event in events:
        if event.job == job:
            assert len(finite_json(event.encode())) <= MAX_EVENT_BYTES
            # As a server reads it.
            snapshot.apply(Event.decode(event.encode()))
    return snapshot


LONG = {"class": "ValueError", "message": "語" * 9999}
PUTS = {
    "lines": lambda outbox, n: outbox.put_line(new_run(), "log", f"{n}" * 50, 1.0),
    "small own events": lambda outbox, n: outbox.put(Push("e", n, "/", "r")),
    "large own events": lambda outbox, n: outbox.put(Push("e", "x" * 60_000, "/", "r")),
    "nested own events": lambda outbox, n: outbox.put(Push("e", [[[[]]]] * 5_000, "/", "r")),
    "queued": lambda outbox, n: outbox.put(Report(new_run(str(n), begun=0), "queued", {}, 1.0)),
    "tasks": lambda outbox, n: put_task(outbox, str(n)),
    "tasks of many jobs": lambda outbox, n: put_task(outbox, str(n), f"j{n}"),
    "results": lambda outbox, n: put_task(outbox, str(n), result=["x" * 100] * 100),
    "failures": lambda outbox, n: put_task(outbox, str(n), "j", "failed", error=LONG),
    "retries of one run": lambda outbox, n: outbox.put(Report(new_run(), "retrying", {}, 1.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", PUTS)
def test_nothing_takes_more_than_the_bound_and_all_is_given_back(outbox, name):
    large = ("large own events", "nested own events", "results", "failures")
    for number in range(200 if name in large else 3_000):
        PUTS[name](outbox, number)
        assert outbox.held <= BOUND
    assert any(outbox.losses.counts().values())
    gathered(outbox)
    assert (outbox.held, len(outbox)) == (0, 0)


def test_the_order_of_loss_is_lines_then_own_events_then_lifecycle(outbox):
    run = put_task(outbox, "first")
    for number in range(100):
        outbox.put_line(run, "log", f"{number}", 1.0)
        outbox.put(Push("e", number, "/", "r"))
    lost = []
    for number in itertools.count():
        before = outbox.losses.counts()
        put_task(outbox, f"{number}")
        now = outbox.losses.counts()
        lost += [name for name, count in now.items() if count > before[name]]
        if "dropped_ends" in lost:
            break
    firsts = list(dict.fromkeys(lost))
    assert firsts[:2] == ["dropped", "dropped_pushes"]
    assert set(firsts[2:4]) == {"dropped_events", "shortened_ends"}
    assert firsts[4] == "dropped_ends"
    counts = outbox.losses.counts()
    assert (counts["dropped"], counts["dropped_pushes"]) == (100, 100)


def test_an_announced_task_is_dropped_before_the_end_of_another(outbox):
    for number in range(200):
        outbox.put(Report(new_run(f"q{number}", begun=0), "queued", {}, 1.0))
        put_task(outbox, f"{number}")
    while not outbox.losses.ends:
        put_task(outbox, f"more-{outbox.losses.shortened}")
        if outbox.losses.ends:
            break
    assert not [event for event in events_of(outbox) if event.type == "queued"]


def test_a_shortened_end_still_tells_how_the_task_ended_and_that_something_is_missing(outbox):
    error = {"class": "ValueError", "message": "the file is empty " * 100, "traceback": "T" * 9000}
    put_task(outbox, "bad", kind="failed", error=error, retry=False)
    put_task(outbox, "good", result="r" * 5000)
    put_task(outbox, "short", result=7)
    for number in range(300):
        put_task(outbox, f"{number}", job="other")
    assert (outbox.losses.shortened > 3, outbox.losses.ends) == (True, 0)
    events = [event for event in events_of(outbox) if event.job == "j"]
    assert [event.type for event in events] == ["failed", "succeeded", "succeeded"]
    bad, good, short = (event.data for event in events)
    assert bad["error"]["class"] == "ValueError"
    assert bad["error"]["message"].startswith("the file is empty")
    assert len(bad["error"]["message"]) <= 256
    assert (good["result_omitted"], short["result"]) == (True, 7)
    assert bad["attempt"] == 1
    snapshot = fold(events)
    assert (snapshot.total, snapshot.done, snapshot.incomplete) == (5000, 3, True)


def test_a_run_whose_beginning_was_dropped_goes_on_and_tells_it_later(outbox):
    run = new_run("t")
    outbox.put(Report(run, "started", {"attempt": 2, "total": 3, "more": 1}, 1.0))
    for number in range(300):
        put_task(outbox, f"{number}", job="other")
    outbox.put_line(run, "log", "late", 2.0)
    mine = [event for event in events_of(outbox) if event.job == "j"]
    assert [event.type for event in mine] == ["log"]
    snapshot = fold(mine)
    assert (snapshot.state, snapshot.total, snapshot.incomplete) == ("running", 4, True)
    assert snapshot.task("t").attempt == 2
    assert run.sample(force=True).type == "progress"


def test_a_task_that_is_tried_again_is_told_in_order(outbox):
    for attempt in (1, 2):
        run = new_run("t", begun=attempt * 1000)
        outbox.put(Report(run, "started", {"attempt": attempt}, 1.0))
        end = "retrying" if attempt == 1 else "succeeded"
        outbox.put(Report(run, end, {}, 2.0))
    for number in range(300):
        put_task(outbox, f"{number}", job="other")
    mine = [event for event in events_of(outbox) if event.job == "j"]
    assert [event.type for event in mine] == ["retrying", "succeeded"]
    assert fold(mine).state == "succeeded"


def test_lines_that_were_dropped_are_counted_by_an_end_that_was_shortened(outbox):
    run = new_run("t")
    outbox.put(Report(run, "started", {}, 1.0))
    for _ in range(5):
        outbox.put_line(run, "log", "x", 1.0)
    outbox.put(Report(run, "succeeded", {}, 2.0))
    for number in range(300):
        put_task(outbox, f"{number}", job="other")
    assert fold(events_of(outbox)).dropped == run.dropped == 5


def test_ends_that_were_dropped_are_told_as_numbers(outbox):
    kinds = ["succeeded"] * 19 + ["failed"]
    count = 4_000
    for number in range(count):
        put_task(outbox, f"{number}", job=f"job-{number % 3}", kind=kinds[number % 20])
    lost = outbox.losses.ends
    assert 0 < lost < count
    events = events_of(outbox)
    told = Counter(event.type for event in events)
    untold = Counter()
    for event in events:
        untold.update(Event.decode(event.encode()).notes.get("unreported", {}))
    assert told + untold == Counter(kinds * (count // 20))
    assert len({event.task for event in events}) == len(events) == count - untold.total()


def test_after_a_loss_there_is_room_again_and_nothing_is_lost_or_told_twice(outbox):
    for number in range(2_000):
        put_task(outbox, f"{number}")
    first = events_of(outbox)
    before = outbox.losses.counts()
    for number in range(20):
        put_task(outbox, f"again-{number}")
    second = events_of(outbox)
    assert outbox.losses.counts() == before
    assert [event.type for event in second] == ["started", "succeeded"] * 20
    assert not {event.task for event in first} & {event.task for event in second}


def test_rooms_are_told_how_many_own_events_they_miss_before_those_that_are_left(outbox):
    for number in range(400):
        outbox.put(Push("mine", number, "/jobs", f"owner:{number % 2}", number % 2))
        outbox.put(Push("app", number, "/app", "lobby"))
    for _ in range(300):
        outbox.put(Push("large", "x" * 1000, "/app", None))
    told = [entry for entry in gathered(outbox) if entry.event == PUSHES_DROPPED]
    assert [(one.room, one.shard, one.namespace) for one in told] == [
        ("owner:0", 0, "/jobs"),
        ("owner:1", 1, "/jobs"),
    ]
    assert [one.data for one in told] == [{"count": 200}] * 2
    assert gathered(outbox) == []


def test_rooms_are_told_of_own_events_that_were_more_than_a_process_may_send():
    clock = Clock()
    outbox = Outbox(Shares(100.0, clock=clock))
    for number in range(30):
        outbox.put(Push("mine", number, "/jobs", "owner:o"))
    came = gathered(outbox)
    clock.tick(100.0)
    outbox.put(Push("mine", "after", "/jobs", "owner:o"))
    notice, after = gathered(outbox)
    assert (notice.event, notice.data) == (PUSHES_DROPPED, {"count": 30 - len(came)})
    assert after.data == "after"
    assert outbox.losses.pushes == 30 - len(came)
    assert outbox.dropped == 0


def test_an_own_event_is_sent_as_it_was_when_it_was_handed_over(outbox):
    data = {"page": 1}
    outbox.put(Push("e", data, "/", "r"))
    data["page"] = 2
    [push] = gathered(outbox)
    assert push.data == {"page": 1}


def test_an_end_whose_data_is_not_json_is_told_without_it(outbox, caplog):
    run = new_run()
    outbox.put(Report(run, "started", {}, 1.0))
    outbox.put(Report(run, "failed", {"error": {"message": float("nan")}}, 2.0))
    _, failed = events_of(outbox)
    assert (failed.type, failed.data) == ("failed", {})
    assert "not JSON" in caplog.text


def test_a_signal_handler_that_reports_while_something_is_dropped_loses_nothing_uncounted(
    outbox, monkeypatch
):
    drop, depth = Outbox._drop_one, []

    def interrupted(self):
        if not depth:
            depth.append(1)
            put_task(self, "of-the-handler", job="handler")
        return drop(self)

    monkeypatch.setattr(Outbox, "_drop_one", interrupted)
    for number in range(300):
        put_task(outbox, f"{number}")
    events = events_of(outbox)
    assert [event.type for event in events if event.job == "handler"][-1:] == ["succeeded"]
    assert fold(events).done == 300


def test_with_threads_putting_while_another_gathers_each_end_is_told_once_or_counted(outbox):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(thread):
        for number in range(600):
            put_task(outbox, f"{thread}-{number}", job=f"job-{thread}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    try:
        for thread in threads:
            thread.start()
        entries = []
        while any(thread.is_alive() for thread in threads) or outbox:
            entries += itertools.islice(outbox.gather(2_000), 1_000)
    finally:
        sys.setswitchinterval(interval)
    ends = [entry for entry in entries if entry.type == "succeeded"]
    untold = sum(sum(entry.data.get("unreported", {}).values()) for entry in entries)
    assert len(ends) + untold == 1_800
    assert len({event.task for event in ends}) == len(ends)
    for job in ("job-0", "job-1", "job-2"):
        assert fold(entries, job).done == sum(event.job == job for event in ends)


def test_an_outage_is_logged_when_it_begins_when_it_costs_something_and_when_it_is_over(
    outbox, caplog
):
    caplog.set_level("INFO")
    outage = Outage(outbox.losses)
    for _outage in range(2):
        outage.begin("connection refused")
        outage.look()
        for _ in range(2_000):
            outbox.put_line(new_run(), "log", "x" * 100, 1.0)
            outage.look()
        put_task(outbox, "t")
        outage.over()
        gathered(outbox)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 6
    assert "the broker is away, events are kept: connection refused" in texts[3]
    assert "more than TASKBRIDGE_OUTBOX_BYTES" in texts[4]
    lost = outbox.losses.lines // 2
    assert texts[5].endswith(f"the broker is back; dropped while it was away: {lost} lines")
