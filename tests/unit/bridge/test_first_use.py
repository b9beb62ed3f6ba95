"""What a process makes at its first use is made once, though several threads use it at once."""

from __future__ import annotations

import sys
import threading

import pytest

from bridge.periodic_thread import PeriodicThread
from bridge.sending import process_emitters
from bridge.sending.emitter import Emitter
from bridge.settings import Settings

THREADS, ROUNDS = 8, 60


@pytest.fixture(autouse=True)
def _switching():
    """Let threads take turns after a microsecond, so that each round meets the narrowest gap."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(call):
    """Return what a call returns in each of several threads that make it at the same time."""
    barrier, found = threading.Barrier(THREADS), []

    def run():
        barrier.wait()
        found.append(call())

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == THREADS
    return found


class Began:
    """Takes the place of a thread's loop, and counts how often it began."""

    def __init__(self):
        self._before = set(threading.enumerate())
        self._begins = threading.Semaphore(0)

    def __call__(self, *_):
        self._begins.release()

    def once(self):
        """Whether one thread began it; waits for the first, and for all others that are new."""
        first = self._begins.acquire(timeout=10)
        for one in set(threading.enumerate()) - self._before:
            one.join(10)
        return first and not self._begins.acquire(blocking=False)


def test_a_process_has_one_emitter(monkeypatch):
    for _ in range(ROUNDS):
        monkeypatch.setattr(process_emitters, "_emitters", {})
        emitters = at_once(lambda: process_emitters.emitter_for(Settings()))
        assert len(set(map(id, emitters))) == 1


def test_an_emitter_has_one_sender_thread(monkeypatch):
    for _ in range(ROUNDS):
        emitter, began = Emitter(Settings()), Began()
        monkeypatch.setattr(emitter, "_loop", began)
        at_once(emitter._start)
        assert began.once()


def test_periodic_calls_have_one_thread(monkeypatch):
    for _ in range(ROUNDS):
        periodic, began = PeriodicThread("tests", "%s"), Began()
        monkeypatch.setattr(periodic, "_loop", began)
        at_once(lambda periodic=periodic: periodic.add("task", int))
        assert began.once()
