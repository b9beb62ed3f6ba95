"""Turns: under threads one at a time, and others while somebody waits; for greenlets nothing."""

from __future__ import annotations

import threading

import pytest

from socket_server.concurrency.state_lock import Cooperative, Turn, new_turn


def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    return thread


def test_threads_have_their_turns_one_after_the_other():
    turn, inside, most = Turn(), [], []

    def work():
        for _ in range(200):
            with turn:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [in_thread(work) for _ in range(4)]
    for thread in threads:
        thread.join(10)
    assert set(most) == {1}
    assert len(most) == 800


def test_who_has_its_turn_may_take_it_once_more():
    turn = Turn()
    with turn, turn:
        pass
    assert not turn._lock.locked()


def test_others_have_their_turn_while_somebody_waits():
    turn, done = Turn(), threading.Event()

    def other():
        with turn:
            done.set()

    with turn, turn:
        thread = in_thread(other)
        assert not done.is_set()
        assert turn.outside(done.wait, 10), "the other came in while this one waited"
        assert turn._lock.locked()
    thread.join(10)
    assert not turn._lock.locked()


def test_who_is_outside_may_take_a_turn_of_its_own_and_wait_in_it():
    turn, held = Turn(), []

    def inner():
        turn.outside(lambda: held.append(turn._lock.locked()))
        with turn:
            held.append(turn._lock.locked())
            turn.outside(lambda: held.append(turn._lock.locked()))
        held.append(turn._lock.locked())

    with turn:
        turn.outside(inner)
        held.append(turn._lock.locked())
    assert held == [False, True, False, False, True]
    assert not turn._lock.locked()


def test_a_call_that_fails_outside_leaves_the_turn_as_it_was():
    turn = Turn()

    def fails():
        raise ValueError("no")

    with turn:
        with pytest.raises(ValueError, match="no"):
            turn.outside(fails)
        assert turn._lock.locked()
    assert turn.outside(lambda: turn._lock.locked()) is False


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("threading", Turn), ("eventlet", Cooperative), ("gevent", Cooperative)],
)
def test_greenlets_need_none(mode, kind):
    turn = new_turn(mode)
    assert type(turn) is kind
    with turn:
        assert turn.outside(lambda one, two: one + two, 1, two=2) == 3
