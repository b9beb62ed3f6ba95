"""A run: its bars on their lines, its events in their order."""

from __future__ import annotations

import gc

import pytest

from bridge.errors import JobCancelled
from bridge.protocol.event import MAX_EVENT_BYTES, MAX_META_BYTES, finite_json
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import INTERVAL, MAX_BARS, SHORTEST_INTERVAL, Run
from support.clock import Clock
from support.reporting import bars_of


class Shown:
    """A bar of a run, moved by hand, that counts how often it is stopped."""

    def __init__(self, run, desc="", *, total=None, leave=True, position=None, hidden=False):
        self.n, self.stops, self._run = 0, 0, run
        read = lambda: Reading(self.n, total, desc)  # noqa: E731
        self.meter = Meter(read, leave=leave, clock=run.clock)
        self.line = run.show(self, self.meter, position, hidden=hidden)

    def stop(self):
        self.stops += 1

    def close(self):
        self.meter.close()
        self._run.closed(self.meter)


@pytest.fixture
def clock():
    return Clock(100.0)


@pytest.fixture
def run(clock):
    """A run that has told nothing yet."""
    return Run(job="j", task="t", name="n", owner="o", begun=7, clock=clock)


@pytest.fixture
def started(run):
    """A run that has told that it started."""
    run.event("started", {})
    return run


def lines(run):
    return [(bar["position"], bar["desc"]) for bar in bars_of(run)]


def test_a_young_run_is_sampled_often_and_an_old_one_ten_times_a_second(run, clock):
    assert run.interval == SHORTEST_INTERVAL
    clock.now += 0.5
    assert run.interval == pytest.approx(0.05)
    clock.now += 1000
    assert run.interval == INTERVAL


def test_nothing_is_sent_while_nothing_changes(started):
    assert started.sample() is None
    bar = Shown(started, total=3)
    assert started.sample().data["bars"][0]["n"] == 0
    assert started.sample() is None
    bar.n += 1
    assert started.sample().data["bars"][0]["n"] == 1
    assert started.sample() is None


def test_a_heartbeat_is_sent_even_if_nothing_changed(started):
    assert started.sample(force=True).type == "progress"


def test_a_sample_holds_all_bars_so_that_the_latest_is_enough(started):
    Shown(started, "files", total=2)
    inner = Shown(started, "bytes", total=9)
    started.sample()
    inner.n += 1
    assert [bar["desc"] for bar in started.sample().data["bars"]] == ["files", "bytes"]


def test_what_a_task_says_about_itself_travels_with_its_bars_until_it_says_otherwise(started):
    assert "meta" not in started.sample(force=True).data
    started.meta = {"device": "cpu"}
    assert started.sample().data == {"bars": [], "meta": {"device": "cpu"}}
    assert started.sample() is None
    Shown(started)
    assert started.sample().data["meta"] == {"device": "cpu"}
    started.meta = {}
    assert "meta" not in started.sample().data
    assert started.sample() is None


def test_a_sample_with_all_that_it_may_hold_fits_an_event(clock):
    full = "\0" * 255
    run = Run(job=full, task=full, name=full, owner=full, begun=2**62, clock=clock)
    run.event("started", {})
    run.meta = {"m": "x" * (MAX_META_BYTES - len('{"m":""}'))}
    for _ in range(MAX_BARS):
        bar = Reading(-1e149 / 3, 1e150 / 3, "\0" * 999, "\0" * 999, "\0" * 999)
        run.show(None, Meter(lambda bar=bar: bar, clock=clock))
    clock.now += 1e8 / 3
    assert len(finite_json(run.sample().encode())) <= MAX_EVENT_BYTES


def test_events_of_a_run_are_counted_and_progress_between_them_is_ticked(run):
    order = [
        run.event("started", {}).order,
        run.sample(force=True).order,
        run.sample(force=True).order,
        run.event("log", {"lines": []}).order,
        run.sample(force=True).order,
        run.event("succeeded", {}).order,
    ]
    assert order == [(7, 0, 0), (7, 0, 1), (7, 0, 2), (7, 1, 0), (7, 1, 1), (7, 2, 0)]
    assert order == sorted(order)


def test_events_carry_who_they_are_about(run):
    event = run.event("started", {"attempt": 1}, at=12.5)
    assert (event.job, event.task, event.name, event.owner) == ("j", "t", "n", "o")
    assert (event.type, event.at, event.data) == ("started", 12.5, {"attempt": 1})


def test_a_later_run_of_a_task_fences_an_earlier_one():
    first, second = (Run(job="j", task="t", name="n") for _ in range(2))
    assert first.event("failed", {}).order <= second.event("started", {}).order
    assert first.begun > 1_700_000_000_000_000


def test_what_was_dropped_is_told_once_by_the_next_event_that_must_not_be_lost(started):
    started.dropped += 3
    assert "dropped" not in started.sample(force=True).data
    assert started.event("log", {"lines": []}).data == {"lines": [], "dropped": 3}
    assert started.event("log", {"lines": []}).data == {"lines": []}
    started.dropped += 2
    assert started.event("succeeded", {}).data == {"dropped": 2}


def test_telling_what_was_dropped_leaves_the_callers_data_alone(run):
    data = {}
    run.dropped += 1
    run.event("succeeded", data)
    assert data == {}


def test_no_progress_overtakes_the_news_that_the_run_started(run):
    Shown(run, total=3)
    assert run.sample(force=True) is None
    started = run.event("started", {})
    assert started.order < run.sample().order


def test_bars_open_on_the_lowest_free_line(started):
    outer, inner = Shown(started, "a"), Shown(started, "b")
    assert lines(started) == [(0, "a"), (1, "b")]
    inner.close()
    Shown(started, "c")
    outer.close()
    Shown(started, "d")
    assert lines(started) == [(0, "d"), (1, "c")]


def test_a_bar_opens_on_the_line_that_it_asks_for_if_no_open_bar_holds_it(started):
    asked = {"low": 2, "first": None, "pushed": 2, "beyond": MAX_BARS, "below": -1}
    given = [Shown(started, desc, position=line).line for desc, line in asked.items()]
    assert given == [2, 0, 1, 3, 4]
    assert lines(started) == [
        (0, "first"), (1, "pushed"), (2, "low"), (3, "beyond"), (4, "below"),
    ]  # fmt: skip


def test_a_finished_bar_stays_until_another_takes_its_line(started):
    Shown(started, "one").close()
    assert lines(started) == [(0, "one")]
    Shown(started, "two")
    assert lines(started) == [(0, "two")]


def test_a_bar_that_shall_not_be_left_disappears(started):
    Shown(started, "stays")
    gone = Shown(started, "gone", leave=False)
    assert started.sample()
    gone.close()
    assert [bar["desc"] for bar in started.sample().data["bars"]] == ["stays"]


def test_of_nested_bars_with_leave_none_only_the_outermost_stays(started):
    outer, inner = Shown(started, "outer", leave=None), Shown(started, "inner", leave=None)
    inner.close()
    outer.close()
    assert lines(started) == [(0, "outer")]


def test_closing_a_replaced_bar_again_does_not_take_its_successor_away(started):
    first = Shown(started, "first", leave=False)
    first.meter.close()
    Shown(started, "second")
    first.close()
    assert lines(started) == [(0, "second")]


@pytest.mark.parametrize(("leave", "left"), [(True, ["gone"]), (False, []), (None, ["gone"])])
def test_a_bar_that_is_gone_without_being_closed_is_treated_as_closed(started, leave, left):
    readings = {"gone": Reading(1, None, "gone")}
    started.show(None, Meter(lambda: readings.get("gone"), leave=leave, clock=started.clock))
    assert lines(started) == [(0, "gone")]
    readings.clear()
    assert [bar["desc"] for bar in started.sample().data["bars"]] == left
    assert started.sample() is None
    assert Shown(started, "next").line == 0


def test_bars_that_were_never_closed_do_not_make_an_event_grow_without_end(started):
    for _ in range(MAX_BARS):
        Shown(started)
    beyond = Shown(started, "beyond")
    assert beyond.line >= MAX_BARS
    assert len(started.sample().data["bars"]) == MAX_BARS
    beyond.close()
    assert started.sample() is None


def test_a_hidden_bar_is_not_seen_and_holds_no_line(started):
    hidden = Shown(started, "hidden", hidden=True)
    hidden.n = 5
    assert hidden.line >= MAX_BARS
    assert started.sample() is None
    Shown(started, "seen")
    assert lines(started) == [(0, "seen")]


def test_a_reading_is_that_of_the_first_line(started):
    assert started.reading is None
    Shown(started, "low", position=3).n = 3
    assert started.reading == Reading(3, None, "low")
    first = Shown(started, "first")
    assert started.reading.desc == "first"
    first.n = 9
    first.close()
    assert started.reading == Reading(9, None, "first")


def test_to_read_is_not_to_tell(started):
    Shown(started)
    assert started.reading.n == 0
    assert started.sample() is not None


def test_a_cancel_that_is_noticed_ends_the_run_at_its_next_step():
    cancelled = []
    run = Run(job="j", task="t", name="n", is_cancelled=lambda: bool(cancelled))
    run.notice_cancel()
    run.check()
    cancelled.append(True)
    run.check()
    run.notice_cancel()
    with pytest.raises(JobCancelled, match="the job was cancelled"):
        run.check()


def test_a_cancelled_run_stays_cancelled_when_its_job_is_told_no_more():
    cancelled = [True]
    run = Run(job="j", task="t", name="n", is_cancelled=lambda: bool(cancelled))
    run.notice_cancel()
    cancelled.clear()
    run.notice_cancel()
    assert run.cancelled


def test_a_cancelled_run_stops_all_its_bars_and_does_so_again_each_time(run):
    bars = [Shown(run), Shown(run, hidden=True), Shown(run)]
    bars[2].close()
    run.notice_cancel()
    assert [bar.stops for bar in bars] == [0, 0, 0]
    run.cancelled = True
    run.notice_cancel()
    run.notice_cancel()
    assert [bar.stops for bar in bars] == [2, 2, 2]


def test_a_cancelled_run_opens_no_more_bars(run):
    run.cancelled = True
    with pytest.raises(JobCancelled):
        Shown(run)
    with pytest.raises(JobCancelled):
        Shown(run, hidden=True)


def test_a_bar_that_is_made_while_the_others_are_stopped_holds_up_nothing(run, monkeypatch):
    class Growing:
        def __iter__(self):
            raise RuntimeError("Set changed size during iteration")

    bar = Shown(run)
    run.cancelled = True
    with monkeypatch.context() as patched:
        patched.setattr(run, "_bars", Growing())
        run.notice_cancel()
    assert bar.stops == 0
    run.notice_cancel()
    assert bar.stops == 1


def test_a_run_keeps_no_bar_alive_that_its_task_dropped(run):
    for _ in range(3):
        Shown(run, hidden=True)
    gc.collect()
    run.cancelled = True
    run.notice_cancel()
    assert len(run._bars) == 0
