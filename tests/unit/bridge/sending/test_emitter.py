"""The emitter: what tasks hand over is sent in order, once, and never in their time."""

from __future__ import annotations

import itertools
import logging
import threading
from itertools import pairwise

import pytest

from bridge.protocol.event import Event, finite_json
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import INTERVAL, SHORTEST_INTERVAL, Run
from bridge.sending import emitter as module
from bridge.sending.emitter import BACKOFF, HEARTBEATS, TOGETHER, Emitter
from bridge.sending.outbox import Line, Push
from bridge.settings import Settings
from support.clock import Clock
from support.wait import until


class Broker:
    """In the broker's place: takes what is emitted, unless it is away."""

    def __init__(self):
        self.away = False
        self.attempts = 0
        self.closed = False
        self.sent = []
        #: Numbers of messages whose confirms were awaited together.
        self.together = []

    def emit_all(self, emissions):
        self.attempts += 1
        if self.away:
            raise OSError("connection refused")
        for one in emissions:
            finite_json(one.data)
        self.sent += [one[:4] for one in emissions]
        self.together.append(len(emissions))

    def close(self):
        self.closed = True

    @property
    def events(self):
        """Events sent, each checked as the server checks it."""
        return [Event.decode(data) for event, data, _, _ in self.sent if event == "job"]

    @property
    def types(self):
        return [event.type for event in self.events]


@pytest.fixture
def broker(monkeypatch):
    broker = Broker()
    monkeypatch.setattr(
        "bridge.bus.write_only_manager.new_write_only_manager", lambda settings: broker
    )
    return broker


@pytest.fixture
def emitter(broker, monkeypatch):
    """An emitter without a thread: it sends when a test calls ``cycle``."""
    monkeypatch.setattr(Emitter, "_start", lambda self: None)
    return Emitter(Settings())


@pytest.fixture
def threaded(broker):
    """An emitter with its thread."""
    emitter = Emitter(Settings())
    yield emitter
    broker.away = False
    emitter.close(5)


def new_run(job="j", task="t", **options):
    return Run(job=job, task=task, name="n", **options)


def started_run(emitter, broker, **options):
    """Return a run whose bars are sampled; what it took to get there is not in ``sent``."""
    run = new_run(**options)
    emitter.add(run)
    emitter.put(run, "started")
    emitter.cycle()
    broker.sent.clear()
    return run


class Counted:
    """A bar of a run, moved by hand."""

    def __init__(self, run):
        self.n = 0
        run.show(None, Meter(lambda: Reading(self.n), clock=run.clock))


def messages(events):
    return [line["message"] for event in events for line in event.data.get("lines", [])]


def test_making_an_emitter_starts_and_connects_nothing(broker):
    emitter = Emitter(Settings())
    assert emitter._thread is None
    assert broker.attempts == 0


def test_lifecycle_and_lines_arrive_in_the_order_in_which_they_were_handed_over(emitter, broker):
    run = new_run()
    emitter.put(run, "started")
    emitter.put_line(run, "log", "one")
    emitter.put(run, "retrying", {"error": {}})
    emitter.put_line(run, "log", "two")
    emitter.put(run, "succeeded", {"result": 1})
    emitter.cycle()
    assert broker.types == ["started", "log", "retrying", "log", "succeeded"]
    assert [event.seq for event in broker.events] == [0, 1, 2, 3, 4]


def test_an_event_goes_to_the_room_of_its_job_and_no_other(emitter, broker):
    emitter.put(new_run(job="j1", task="t1"), "started")
    emitter.cycle()
    [(event, data, namespace, room)] = broker.sent
    assert (event, namespace, room) == ("job", "/jobs", "job:j1")
    assert data["task"] == "t1"


def test_an_event_is_dated_when_it_was_handed_over_not_when_it_was_sent(
    emitter, broker, monkeypatch
):
    monkeypatch.setattr("time.time", lambda: 1000.0)
    emitter.put(new_run(), "started")
    monkeypatch.setattr("time.time", lambda: 2000.0)
    emitter.cycle()
    assert broker.events[0].at == 1000.0


def test_a_line_is_dated_when_it_was_handed_over_unless_it_brings_its_date(
    emitter, broker, monkeypatch
):
    monkeypatch.setattr("time.time", lambda: 1000.0)
    emitter.put_line(new_run(), "log", "now", "INFO")
    emitter.put_line(new_run(), "log", "then", "ERROR", 7.5)
    monkeypatch.setattr("time.time", lambda: 2000.0)
    emitter.cycle()
    assert [event.data["lines"] for event in broker.events] == [
        [{"at": 1000.0, "level": "INFO", "message": "now"}],
        [{"at": 7.5, "level": "ERROR", "message": "then"}],
    ]


def test_bars_are_sampled_and_sent_only_when_they_changed(emitter, broker):
    run = started_run(emitter, broker)
    bar = Counted(run)
    emitter.cycle()
    emitter.cycle()
    bar.n += 1
    emitter.cycle()
    assert [event.data["bars"][0]["n"] for event in broker.events] == [0, 1]


def test_the_last_state_of_a_bar_is_told_before_the_end_of_its_task(emitter, broker):
    run = new_run()
    emitter.add(run)
    emitter.put(run, "started")
    Counted(run).n = 7
    emitter.put(run, "succeeded")
    emitter.remove(run)
    emitter.cycle()
    started, progress, succeeded = broker.events
    assert (started.type, succeeded.type) == ("started", "succeeded")
    assert progress.data["bars"][0]["n"] == 7
    assert started.order < progress.order < succeeded.order


def test_a_removed_run_is_sampled_no_more(emitter, broker):
    run = started_run(emitter, broker)
    emitter.remove(run)
    Counted(run)
    emitter.cycle()
    assert broker.sent == []


def test_a_silent_run_sends_a_heartbeat(emitter, broker):
    run = started_run(emitter, broker)
    emitter.cycle()
    assert broker.sent == []
    run.sent_at -= 15.0 / HEARTBEATS
    emitter.cycle()
    emitter.cycle()
    assert broker.types == ["progress"]


def test_what_cannot_be_sent_is_kept_and_arrives_in_order_once(emitter, broker, caplog):
    run = new_run()
    broker.away = True
    emitter.put(run, "started")
    emitter.put_line(run, "log", "one")
    emitter.cycle()
    emitter.put_line(run, "log", "two")
    emitter.put(run, "succeeded")
    emitter.cycle()
    assert not emitter.healthy
    assert broker.sent == []
    broker.away = False
    emitter.cycle()
    assert emitter.healthy
    assert broker.types == ["started", "log", "log", "succeeded"]
    assert [event.seq for event in broker.events] == [0, 1, 2, 3]
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "the broker is away, events are kept: connection refused" in warnings[0].getMessage()


def test_progress_goes_on_after_the_broker_was_away_without_any_other_event(emitter, broker):
    run = started_run(emitter, broker)
    bar = Counted(run)
    broker.away = True
    emitter.cycle()
    bar.n += 1
    emitter.cycle()
    broker.away = False
    emitter.cycle()
    assert emitter.healthy
    assert broker.events[-1].data["bars"][0]["n"] == 1


def test_progress_is_latest_wins_while_the_broker_is_away(emitter, broker):
    run = started_run(emitter, broker)
    bar = Counted(run)
    broker.away = True
    for _ in range(100):
        bar.n += 1
        emitter.cycle()
    broker.away = False
    emitter.cycle()
    assert len(broker.sent) <= 2
    assert [event.order for event in broker.events] == sorted(
        event.order for event in broker.events
    )
    assert broker.events[-1].data["bars"][0]["n"] == 100


def test_the_outbox_is_bounded_while_the_broker_is_away_and_drops_are_counted(
    emitter, broker, monkeypatch
):
    run = new_run()
    broker.away = True
    emitter.put(run, "started")
    emitter.cycle()
    end = 500  # more than the end takes
    emitter._outbox.max_bytes = end + 10 * Line(run, "log", "00", 0.0).memory()
    for number in range(100):
        emitter.put_line(run, "log", f"{number:02}")
        emitter.cycle()
    emitter.put(run, "succeeded")
    assert len(emitter._outbox) + len(emitter._unsent) <= 15
    broker.away = False
    emitter.cycle()
    emitter.cycle()
    assert broker.types[0] == "started"
    assert broker.types[-1] == "succeeded"
    kept = messages(broker.events)
    assert kept[-10:] == [str(number) for number in range(90, 100)]
    assert len(kept) + run.dropped == 100
    assert run.dropped >= 85
    assert sum(event.data.get("dropped", 0) for event in broker.events) == run.dropped


def test_a_flood_of_lines_does_not_hold_up_the_bars(emitter, broker, monkeypatch):
    run = started_run(emitter, broker)
    bar = Counted(run)
    moments = itertools.count(1000.0, INTERVAL)
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    for _ in range(300):
        emitter.put_line(run, "output", "x" * 4096)
    bar.n = 5
    emitter.cycle()
    assert broker.events[-1].data["bars"][0]["n"] == 5
    assert len(emitter._outbox) > 0
    assert emitter._pause() == 0


def test_a_cancelled_job_is_noticed_each_time(emitter, broker):
    cancelled = []
    run = new_run(is_cancelled=lambda: bool(cancelled))
    emitter.add(run)
    emitter.cycle()
    assert not run.cancelled
    cancelled.append(True)
    emitter.cycle()
    assert run.cancelled


def test_what_is_not_json_is_dropped_with_a_log_line_and_holds_up_nothing(emitter, broker, caplog):
    emitter.push(Push("one", {1, 2}, "/", None))
    emitter.push(Push("two", 2, "/", "room"))
    emitter.cycle()
    assert [(event, room) for event, _, _, room in broker.sent] == [("two", "room")]
    assert "not JSON was dropped" in caplog.text


def test_the_pause_after_a_failure_grows_to_a_bound_with_jitter(emitter, broker):
    broker.away = True
    emitter.put(new_run(), "started")
    pauses = []
    for _ in range(12):
        emitter.cycle()
        pauses.append(emitter._pause())
    first, longest = BACKOFF
    assert first / 2 <= pauses[0] <= first
    assert longest / 2 <= pauses[-1] <= longest
    assert all(later <= 4 * earlier for earlier, later in pairwise(pauses))
    assert len(set(pauses)) > 1


def test_the_sender_sleeps_until_woken_while_nothing_runs(emitter):
    assert emitter._pause() is None
    emitter.put_line(new_run(), "log", "of a run that is not sampled")
    assert emitter._pause() == SHORTEST_INTERVAL


def test_the_sender_wakes_as_often_as_the_youngest_run_is_to_be_sampled(emitter):
    clock = Clock(100.0)
    for task, age in {"old": 1000.0, "young": 0.0, "middle": 0.5}.items():
        run = new_run(task=task, clock=clock)
        run.started_at -= age
        emitter.add(run)
    assert emitter._pause() == SHORTEST_INTERVAL
    emitter.remove(emitter._runs["young"])
    assert emitter._pause() == pytest.approx(0.05)


def test_events_that_wait_are_confirmed_together_up_to_a_number(emitter, broker):
    for number in range(2 * TOGETHER + 1):
        emitter.put(new_run(task=str(number)), "started")
    emitter.cycle()
    assert broker.together == [TOGETHER, TOGETHER, 1]
    assert [event.task for event in broker.events] == [str(one) for one in range(2 * TOGETHER + 1)]


def test_of_events_that_wait_together_only_what_is_not_json_is_dropped(emitter, broker, caplog):
    for number, data in enumerate([1, {2}, 3]):
        emitter._unsent.append(Push(str(number), data, "/", None))
    emitter.cycle()
    assert [event for event, *_ in broker.sent] == ["0", "2"]
    assert caplog.text.count("not JSON was dropped") == 1


def test_a_flush_ends_when_what_was_before_it_is_sent(emitter, broker):
    marks = [threading.Event(), threading.Event()]
    for mark in marks:
        emitter.put(new_run(), "started")
        emitter._outbox.put(mark)
    emit_all = broker.emit_all

    def fail_after_the_first(emissions):
        emit_all(emissions)
        broker.away = True

    broker.emit_all = fail_after_the_first
    emitter.cycle()
    assert [mark.is_set() for mark in marks] == [True, False]


def test_a_burst_of_queued_events_is_sent_together_and_a_lone_one_at_once(
    threaded, broker, monkeypatch
):
    monkeypatch.setattr(module, "REST", 3600.0)
    threaded.put(new_run(task="lone"), "queued")
    until(lambda: broker.types == ["queued"], 5, "the lone event")
    for number in range(50):
        threaded.put(new_run(task=str(number)), "queued")
    assert len(broker.sent) == 1
    threaded.put(new_run(task="now"), "started")
    until(lambda: len(broker.sent) == 52, 5, "all, since one of them does not wait")
    assert broker.together == [1, 51]


@pytest.mark.parametrize("end", ["flush", "close"])
def test_who_waits_for_the_sender_does_not_wait_for_its_rest(threaded, broker, monkeypatch, end):
    monkeypatch.setattr(module, "REST", 3600.0)
    for number in range(2):
        threaded.put(new_run(task=str(number)), "queued")
        until(lambda: broker.sent, 5, "the first event")
    getattr(threaded, end)(5)
    assert broker.types == ["queued"] * 2


def test_flush_waits_until_all_was_sent(threaded, broker):
    run = new_run()
    for number in range(1000):
        threaded.put_line(run, "log", str(number))
    threaded.put(run, "succeeded")
    assert threaded.flush(10)
    assert broker.types[-1] == "succeeded"


def test_flush_gives_up_after_its_time(emitter):
    emitter.put(new_run(), "started")
    assert emitter.flush(0.01) is False


def test_flush_returns_at_once_while_the_broker_is_away(emitter, broker):
    broker.away = True
    emitter.put(new_run(), "started")
    emitter.cycle()
    assert emitter.flush(3600) is False


def test_the_thread_sends_what_it_is_woken_for_and_survives_an_error(threaded, broker, monkeypatch):
    run = new_run()
    monkeypatch.setattr(run, "sample", lambda **_: 1 / 0)
    threaded.add(run)
    threaded.put(new_run(task="other"), "started")
    until(lambda: broker.types == ["started"], 5, "the event")
    threaded.remove(run)
    threaded.put(new_run(task="another"), "started")
    until(lambda: len(broker.types) == 2, 5, "the event after the error")


def test_threads_may_hand_over_at_the_same_time(threaded, broker):
    runs = [new_run(task=str(number)) for number in range(4)]

    def work(run):
        for number in range(200):
            threaded.put_line(run, "log", str(number))
        threaded.put(run, "succeeded")

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert threaded.flush(10)
    for run in runs:
        mine = [event for event in broker.events if event.task == run.task]
        assert messages(mine) == [str(number) for number in range(200)]
        assert [event.seq for event in mine] == list(range(len(mine)))
        assert mine[-1].type == "succeeded"


def test_closing_sends_what_is_left_and_ends_the_thread_and_the_connection(threaded, broker):
    threaded.put(new_run(), "started")
    thread = threaded._thread
    threaded.close(5)
    assert broker.types == ["started"]
    assert broker.closed
    assert not thread.is_alive()
