"""Turns: under threads one at a time, and others while somebody waits; for greenlets nothing."""

from __future__ import annotations

import threading

import pytest

from socket_server.concurrency.state_lock import NoLock, StateLock, new_state_lock


def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_threads_have_their_turns_one_after_the_other():
    state_lock, inside, most = StateLock(), [], []

    def work():
        for _ in range(200):
            with state_lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [in_thread(work) for _ in range(4)]
    for thread in threads:
        thread.join(10)
    assert set(most) == {1}
    assert len(most) == 800


def test_who_has_its_turn_may_take_it_once_more():
    state_lock = StateLock()
    with state_lock, state_lock:
        pass
    assert not state_lock._lock.locked()


def test_others_have_their_turn_while_somebody_waits():
    state_lock, done = StateLock(), threading.Event()

    def other():
        with state_lock:
            done.set()

    with state_lock, state_lock:
        thread = in_thread(other)
        assert not done.is_set()
        assert state_lock.outside(done.wait, 10), "the other came in while this one waited"
        assert state_lock._lock.locked()
    thread.join(10)
    assert not state_lock._lock.locked()


def test_who_is_outside_may_take_a_turn_of_its_own_and_wait_in_it():
    state_lock, held = StateLock(), []

    def inner():
        state_lock.outside(lambda: held.append(state_lock._lock.locked()))
        with state_lock:
            held.append(state_lock._lock.locked())
            state_lock.outside(lambda: held.append(state_lock._lock.locked()))
        held.append(state_lock._lock.locked())

    with state_lock:
        state_lock.outside(inner)
        held.append(state_lock._lock.locked())
    assert held == [False, True, False, False, True]
    assert not state_lock._lock.locked()


def test_a_call_that_fails_outside_leaves_the_turn_as_it_was():
    state_lock = StateLock()

    def fails():
        raise ValueError("no")

    with state_lock:
        with pytest.raises(ValueError, match="no"):
            state_lock.outside(fails)
        assert state_lock._lock.locked()
    assert state_lock.outside(lambda: state_lock._lock.locked()) is False


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("threading", StateLock), ("eventlet", NoLock), ("gevent", NoLock)],
)
def test_greenlets_need_none(mode, kind):
    state_lock = new_state_lock(mode)
    assert type(state_lock) is kind
    with state_lock:
        assert state_lock.outside(lambda one, two: one + two, 1, two=2) == 3
