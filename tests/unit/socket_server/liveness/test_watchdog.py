"""The watchdog: who has been silent for too long, once each, and only while one could listen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from socket_server.liveness.watchdog import EXPIRY_GRACE, MAX_GAP, Watchdog
from support.clock import Clock

STALLED, LOST = 15, 60


def watchdog():
    clock = Clock(0.0)
    return Watchdog(stalled_after=STALLED, lost_after=LOST, clock=clock), clock


def looks(dog, clock, *times, listening=True):
    """Look every second until each of these times; return what was found, without the seconds."""
    found = []
    for time in times:
        while clock.now < time:
            clock.now += 1
            found += [(one.task, one.lost) for one in dog.look(listening=listening)]
    return found


def test_a_silent_task_is_told_once_as_stalled_and_once_as_lost():
    dog, clock = watchdog()
    dog.heard("j", "t")
    assert looks(dog, clock, 14, 15, 16, 59, 60, 61, 200) == [("t", False), ("t", True)]
    assert len(dog) == 0


def test_a_word_from_it_begins_the_silence_again():
    dog, clock = watchdog()
    dog.heard("j", "t")
    assert looks(dog, clock, 14) == []
    dog.heard("j", "t")
    assert looks(dog, clock, 28, 29) == [("t", False)]
    dog.heard("j", "t")
    assert looks(dog, clock, 43, 44) == [("t", False)]


def test_a_task_that_ended_is_not_missed():
    dog, clock = watchdog()
    dog.heard("j", "t")
    dog.over("j", "t")
    assert looks(dog, clock, 100) == []


def test_time_in_which_nothing_could_be_heard_does_not_count():
    dog, clock = watchdog()
    dog.heard("j", "t")
    assert looks(dog, clock, 10) == []
    assert looks(dog, clock, 300, listening=False) == []
    assert looks(dog, clock, 304) == []
    assert looks(dog, clock, 305) == [("t", False)]


def test_what_is_replayed_was_said_long_ago():
    dog, clock = watchdog()
    dog.heard("j", "old", age=20)
    dog.heard("j", "new", age=-5)  # a clock that is ahead
    assert looks(dog, clock, 1) == [("old", False)]
    assert looks(dog, clock, 39, 40) == [("new", False), ("old", True)]


def test_a_silence_that_began_before_the_server_did_means_nothing_until_it_can_hear():
    dog, clock = watchdog()
    dog.heard("j", "t", age=LOST)
    assert looks(dog, clock, 5, listening=False) == []
    dog.refresh()
    assert looks(dog, clock, 5 + STALLED - 1) == []
    assert looks(dog, clock, 5 + STALLED) == [("t", False)]


def test_a_task_that_a_worker_vouches_for_is_asked_about_again_and_is_not_stalled_twice():
    dog, clock = watchdog()
    dog.heard("j", "t", node="celery@a")
    assert looks(dog, clock, LOST) == [("t", False), ("t", True)]
    dog.vouch("j", "t", "celery@a")
    assert dog.node("j", "t") == "celery@a"
    assert looks(dog, clock, LOST + STALLED - 1) == []
    assert looks(dog, clock, LOST + STALLED) == [("t", True)]


def test_a_word_that_came_while_a_worker_was_asked_counts_more():
    dog, clock = watchdog()
    dog.heard("j", "t")
    looks(dog, clock, LOST)
    dog.heard("j", "t")
    dog.vouch("j", "t", None)
    assert looks(dog, clock, LOST + STALLED - 1) == []
    assert looks(dog, clock, LOST + STALLED) == [("t", False)]


def test_the_worker_of_a_task_is_known_until_another_begins_to_run_it():
    dog, _ = watchdog()
    dog.heard("j", "t", node="celery@a")
    dog.heard("j", "t")
    assert dog.node("j", "t") == "celery@a"
    dog.heard("j", "t", node="")  # a worker of 0.1.0, which does not say its name
    assert dog.node("j", "t") is None
    dog.heard("j", "t", node="celery@b")
    dog.over("j", "t")
    assert dog.node("j", "t") is None


def test_a_task_whose_clock_is_an_hour_behind_is_not_lost_before_it_could_be_heard():
    dog, clock = watchdog()
    dog.heard("j", "runs", age=3600)
    dog.heard("j", "dead", age=3600)
    assert looks(dog, clock, STALLED - 1) == [("runs", False), ("dead", False)]
    dog.heard("j", "runs")
    assert looks(dog, clock, STALLED) == [("dead", True)]


@given(st.lists(st.floats(MAX_GAP, 1e6), min_size=1, max_size=3))
def test_a_pause_of_the_server_itself_is_no_silence_of_a_task(pauses):
    dog, clock = watchdog()
    dog.heard("j", "t")
    for pause in pauses:
        clock.now += pause
        assert dog.look(listening=True) == []
    dog.heard("j", "t")
    now = clock.now
    assert looks(dog, clock, now + STALLED - 1) == []
    assert looks(dog, clock, now + STALLED + 1) == [("t", False)]


def test_a_task_that_waits_expires_once_unless_it_was_taken():
    dog, _ = watchdog()
    dog.expires("j", "a", 100.0)
    dog.expires("j", "b", 100.0)
    dog.heard("j", "b")
    assert dog.expired(100.0) == []
    assert dog.expired(100.0 + EXPIRY_GRACE) == [("j", "a")]
    assert dog.expired(200.0) == []


@given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(1, 3)), max_size=60))
def test_whoever_is_heard_in_time_is_never_missed_and_who_is_not_always_is(steps):
    dog, clock = watchdog()
    heard = {}
    for task, seconds in steps:
        clock.now += seconds
        for found in dog.look(listening=True):
            silent = clock.now - heard[found.task]
            assert silent >= (LOST if found.lost else STALLED)
            if found.lost:
                del heard[found.task]
        if task:
            dog.heard("j", task)
            heard[task] = clock.now
        assert all(clock.now - at < LOST for at in heard.values())
