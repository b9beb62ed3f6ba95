"""A run: its bars on their lines, its events in their order."""

from __future__ import annotations

import pytest

from bridge.errors import JobCancelled
from bridge.run import INTERVAL, MAX_BARS, SHORTEST_INTERVAL, Run


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


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
    return [(bar["position"], bar["desc"]) for bar in run.sample(force=True).data["bars"]]


def test_a_young_run_is_sampled_often_and_an_old_one_ten_times_a_second(run, clock):
    assert run.interval == SHORTEST_INTERVAL
    clock.now += 0.5
    assert run.interval == pytest.approx(0.05)
    clock.now += 1000
    assert run.interval == INTERVAL


def test_nothing_is_sent_while_nothing_changes(started):
    assert started.sample() is None
    bar = started.bar(total=3)
    assert started.sample().data["bars"][0]["n"] == 0
    assert started.sample() is None
    bar.update()
    assert started.sample().data["bars"][0]["n"] == 1
    assert started.sample() is None


def test_a_heartbeat_is_sent_even_if_nothing_changed(started):
    assert started.sample(force=True).type == "progress"


def test_a_sample_holds_all_bars_so_that_the_latest_is_enough(started):
    started.bar(desc="files", total=2)
    inner = started.bar(desc="bytes", total=9)
    started.sample()
    inner.update()
    assert [bar["desc"] for bar in started.sample().data["bars"]] == ["files", "bytes"]


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


def test_what_was_dropped_is_told_once_by_the_next_event(started):
    started.dropped += 3
    assert started.event("log", {"lines": []}).data == {"lines": [], "dropped": 3}
    assert started.event("log", {"lines": []}).data == {"lines": []}
    started.dropped += 2
    assert started.sample(force=True).data["dropped"] == 2
    assert "dropped" not in started.sample(force=True).data


def test_telling_what_was_dropped_leaves_the_callers_data_alone(run):
    data = {}
    run.dropped += 1
    run.event("succeeded", data)
    assert data == {}


def test_bars_open_on_the_lowest_free_line(started):
    outer, inner = started.bar(desc="a"), started.bar(desc="b")
    assert (outer.position, inner.position) == (0, 1)
    inner.close()
    assert started.bar(desc="c").position == 1
    outer.close()
    assert started.bar(desc="d").position == 0
    assert lines(started) == [(0, "d"), (1, "c")]


def test_a_finished_bar_stays_until_another_takes_its_line(started):
    started.bar(desc="one").close()
    assert lines(started) == [(0, "one")]
    started.bar(desc="two")
    assert lines(started) == [(0, "two")]


def test_a_bar_that_shall_not_be_left_disappears(started):
    started.bar(desc="stays")
    gone = started.bar(desc="gone", leave=False)
    assert started.sample()
    gone.close()
    assert [bar["desc"] for bar in started.sample().data["bars"]] == ["stays"]


def test_of_nested_bars_with_leave_none_only_the_outermost_stays(started):
    outer, inner = started.bar(desc="outer", leave=None), started.bar(desc="inner", leave=None)
    inner.close()
    outer.close()
    assert lines(started) == [(0, "outer")]


def test_closing_a_replaced_bar_does_not_take_its_successor_away(started):
    first = started.bar(desc="first", leave=False)
    first.closed = True
    started.bar(desc="second")
    first.closed = False
    first.close()
    assert lines(started) == [(0, "second")]


def test_bars_that_were_never_closed_do_not_make_an_event_grow_without_end(started):
    for _ in range(MAX_BARS + 10):
        started.bar()
    assert len(started.sample().data["bars"]) == MAX_BARS
    assert started.sample() is None


def test_options_for_a_terminal_are_accepted_and_ignored(run):
    bar = run.bar(range(3), desc="x", ncols=80, mininterval=1, file=None, position=5, colour="red")
    assert bar.position == 0
    assert list(bar) == [0, 1, 2]


def test_an_option_that_tqdm_has_not_is_refused_as_tqdm_does(run):
    with pytest.raises(TypeError, match="colr"):
        run.bar(range(3), colr="red")


def test_a_disabled_bar_counts_and_is_not_seen(started):
    assert list(started.bar(range(3), disable=True)) == [0, 1, 2]
    assert started.sample() is None


def test_a_disabled_bar_stops_a_cancelled_job_too(run):
    run.cancelled = True
    with pytest.raises(JobCancelled):
        list(run.bar(range(3), disable=True))


def test_a_flag_that_appears_cancels_the_run_at_its_next_step(tmp_path):
    flag = tmp_path / "cancelled"
    run = Run(job="j", task="t", name="n", flag=flag)
    bar = run.bar(range(3))
    run.notice_cancel()
    run.check()
    flag.touch()
    run.check()
    run.notice_cancel()
    with pytest.raises(JobCancelled, match="the job was cancelled"):
        run.check()
    with pytest.raises(JobCancelled):
        next(iter(bar))


def test_a_cancelled_run_stays_cancelled_when_the_flag_is_cleared(tmp_path):
    flag = tmp_path / "cancelled"
    flag.touch()
    run = Run(job="j", task="t", name="n", flag=flag)
    run.notice_cancel()
    flag.unlink()
    run.notice_cancel()
    assert run.cancelled


def test_no_progress_overtakes_the_news_that_the_run_started(run):
    run.bar(total=3)
    assert run.sample(force=True) is None
    started = run.event("started", {})
    assert started.order < run.sample().order
