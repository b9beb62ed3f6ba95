"""What emitters tell of themselves: added up across processes, with clocks that are off."""

from __future__ import annotations

import pytest

from bridge.sending.emitter_counters import INTERVAL, EmitterCounters
from socket_server.observability.emitter_stats import MAX_EMITTERS, UNSURE, WINDOW, EmitterStats
from support.clock import Clock

BEGAN = 100.0


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def emitters(clock):
    return EmitterStats(BEGAN, clock)


def told(pid=1, host="h", since=BEGAN, published=0, failures=0, dropped=0):
    return {
        "host": host,
        "pid": pid,
        "since": since,
        "published": published,
        "failures": failures,
        "dropped": dropped,
    }


def test_what_all_of_them_count_is_added_up(emitters):
    emitters.note(told(pid=1, published=5), 0.0)
    emitters.note(told(pid=2, published=7, dropped=2), 0.0)
    emitters.note(told(pid=1, published=9, failures=1), 0.0)
    totals = {name: count for name, count in emitters.totals.items() if count}
    assert totals == {"published": 16, "failures": 1, "dropped": 2}


def test_what_was_counted_before_this_server_began_is_not_counted_again(emitters):
    emitters.note(told(since=BEGAN - 1, published=1000), 0.0)
    emitters.note(told(since=BEGAN - 1, published=1003), 0.0)
    assert emitters.totals["published"] == 3


def test_a_process_with_the_number_of_one_that_is_gone_begins_anew(emitters):
    emitters.note(told(since=BEGAN, published=10), 0.0)
    emitters.note(told(since=BEGAN + 5, published=4), 0.0)
    assert emitters.totals["published"] == 14


def test_no_more_processes_are_remembered_than_a_bound(emitters):
    for pid in range(MAX_EMITTERS + 5):
        emitters.note(told(pid=pid, published=1), 0.0)
    assert len(emitters._known) == MAX_EMITTERS
    assert emitters.totals["published"] == MAX_EMITTERS + 5


@pytest.mark.parametrize("skew", [-3.0, 7.0])
def test_a_clock_that_is_off_is_taken_out_of_the_time_that_an_event_took(emitters, skew):
    emitters.note(told(), skew + 0.001)
    assert emitters.note(told(), skew + 0.021) == pytest.approx(0.020)
    assert emitters.skews() == {"h": pytest.approx(skew + 0.001)}


def test_a_clock_that_is_a_little_behind_cannot_be_told_from_a_delay(emitters):
    assert emitters.note(told(), UNSURE / 2) == UNSURE / 2
    assert emitters.skews() == {"h": 0.0}


def test_a_clock_that_was_set_right_is_right_after_a_while(emitters, clock):
    emitters.note(told(), -5.0)
    for _ in range(3):
        clock.tick(WINDOW + 1)
        took = emitters.note(told(), 0.002)
    assert took == 0.002
    assert emitters.skews() == {"h": 0.0}


def test_each_host_has_a_clock_of_its_own(emitters):
    emitters.note(told(host="ahead"), -2.0)
    emitters.note(told(host="right"), 0.01)
    assert emitters.skews() == {"ahead": -2.0, "right": 0.0}


def test_an_emitter_tells_at_once_then_every_few_seconds_and_when_something_went_wrong(clock):
    figures = EmitterCounters(clock)
    none, some = {"dropped": 0}, {"dropped": 3}
    assert figures.due(none)["published"] == 0
    first = figures.due(none)
    assert first, "what could not be published is told again"
    figures.note_told(first)
    assert figures.due(none) is None
    assert figures.due(some)["dropped"] == 3
    figures.failures += 1
    second = figures.due(some)
    assert second["failures"] == 1
    figures.note_told(second)
    assert figures.due(some) is None
    clock.tick(INTERVAL)
    assert figures.due(some)


def test_an_emitter_that_held_something_tells_when_it_holds_nothing_any_more(clock):
    figures = EmitterCounters(clock)
    figures.note_told(figures.due({}, held=1000))
    assert figures.due({}, held=500) is None
    assert figures.due({}, held=0)["held"] == 0
