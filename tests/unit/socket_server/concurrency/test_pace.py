"""Pacing: who asks much waits, one after the other, and others have as much time in between."""

from __future__ import annotations

import pytest

from socket_server.concurrency.pace import FREE, SLICE, Pace
from support.clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pace(clock):
    return Pace(clock.tick, clock)


def work(pace, clock, seconds):
    """Do some work; return for how long it had to wait."""
    begun = clock()
    pace.wait()
    waited = clock() - begun
    with pace.work():
        clock.tick(seconds)
    return waited


def test_who_comes_alone_does_not_wait(pace, clock):
    for _ in range(5):
        assert work(pace, clock, 0.05) == 0.0
        clock.tick(1.0)


def test_little_work_needs_no_pause(pace, clock):
    assert [work(pace, clock, FREE / 10) for _ in range(5)] == pytest.approx([0.0] * 5)


def test_others_have_as_much_time_as_those_who_ask_much_at_once(pace, clock):
    begun = clock()
    waited = sum(work(pace, clock, 0.01) for _ in range(100))
    assert waited == pytest.approx(1.0, abs=0.02)
    assert clock() - begun == pytest.approx(2.0, abs=0.02)


def test_work_that_failed_counts_as_well(pace, clock):
    with pytest.raises(ZeroDivisionError), pace.work():
        clock.tick(0.1)
        raise ZeroDivisionError
    assert work(pace, clock, 0.0) == pytest.approx(0.1, abs=2 * FREE)


def test_long_work_is_done_in_slices_with_as_much_time_for_others_in_between(pace, clock):
    begun, turns = clock(), []
    with pace.sliced(lambda: (turns.append(clock()), pace.wait())) as step:
        for _ in range(100):
            clock.tick(0.001)
            step()
    assert 16 <= len(turns) <= 20
    assert clock() - begun == pytest.approx(0.2, abs=0.01)


def test_rests_between_slices_are_no_work(pace, clock):
    with pace.sliced(lambda: clock.tick(60.0)) as step:
        clock.tick(2 * SLICE)
        step()
    assert work(pace, clock, 0.0) == 0.0
