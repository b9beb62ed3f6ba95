"""The checkpoints of an attempt: what is stored when, and what no store can do to a task."""

from __future__ import annotations

import threading
import time

import pytest
from celery import Celery

from bridge.checkpoints import attempt
from bridge.checkpoints.attempt import SILENT, Checkpoints
from bridge.checkpoints.of_task import checkpoints_of, clear_checkpoint
from bridge.checkpoints.records import Record, Taken, fences_of
from bridge.checkpoints.stores import store_in
from bridge.checkpoints.storing import Place
from bridge.results.bounded_calls import BoundedCalls
from bridge.settings import Settings
from support.wait import until


class Shelf:
    """A store in memory, which can be held up, and can fail."""

    def __init__(self):
        self.records, self.free, self.error, self.calls = {}, threading.Event(), None, 0
        self.free.set()

    def _call(self, key):
        self.calls += 1
        self.free.wait(30)
        if self.error:
            raise self.error
        return self.records.get(key) or Record(-1, 0, None)

    def save(self, key, record):
        known = self._call(key)
        if known.fence > record.fence:
            return False
        self.records[key] = max(known, record, key=lambda one: one[:2])
        return True

    def take_over(self, key, fences):
        known = self._call(key)
        if known.fence >= fences.newer:
            return None
        fence = max(known.fence + 1, fences.least)
        self.records[key] = Record(fence, 0, known.body)
        return Taken(fence, known.body)

    def peek(self, key):
        return self._call(key).body

    def clear(self, key, fence, *, first):
        if self._call(key).fence <= fence:
            self.records.pop(key, None)


@pytest.fixture
def shelf():
    shelf = Shelf()
    yield shelf
    shelf.free.set()


@pytest.fixture
def begin(shelf):
    """Begin an attempt; its ``complaints`` are a list."""

    def begin(
        number=1,
        redelivered=False,
        store=lambda: shelf,
        share=lambda: 0.57,
        key="task",
        former=None,
    ):
        complaints, calls = [], BoundedCalls()
        fences = fences_of({"attempt": number, "redelivered": redelivered})
        if former:
            fences = fences._replace(first=False)
        place = Place(key, store, lambda: calls, former)
        made = Checkpoints(place, fences, share, complaints.append)
        made.complaints = complaints
        return made

    return begin


def keep_storing_until(checkpoints, what):
    """Do what the sender thread does."""

    def look():
        checkpoints.keep_storing()
        return what()

    until(look, 10, "a checkpoint")


def test_the_next_attempt_goes_on_from_the_newest_state_and_says_from_where(begin):
    first, before = begin(), time.time()
    for row in range(100):
        first.put({"row": row})
    keep_storing_until(first, lambda: first.told)
    assert before <= first.told["saved"] <= time.time()
    second = begin(2)
    assert second.told == {}
    assert second.restored().state == {"row": 99}
    told = first.told["saved"]
    assert second.told == {"saved": told, "resumed": {"at": told, "share": 0.57}}


def test_a_job_that_repeats_another_goes_on_from_its_state_and_then_from_its_own(begin):
    failed = begin()
    failed.put({"row": 7})
    failed.end(keep=True)
    for number in (1, 2):
        again = begin(number, key="again", former="task")
        assert again.restored().state == {"row": 7}
    again.put({"row": 9})
    again.end(keep=True)
    assert begin(3, key="again", former="task").restored().state == {"row": 9}
    assert begin(2).restored().state == {"row": 7}


def test_a_first_attempt_asks_no_store(begin, shelf):
    first = begin()
    assert first.restored() is None
    first.end(keep=False)
    first = begin()
    first.end(keep=True)
    assert shelf.calls == 0
    assert begin(2).restored() is None


def test_a_state_may_be_changed_after_the_call(begin):
    first, state = begin(), {"rows": [1]}
    first.put(state)
    state["rows"].append(2)
    first.end(keep=True)
    assert begin(2).restored().state == {"rows": [1]}


@pytest.mark.parametrize("state", [{1, 2}, float("nan"), "x" * 70_000, object()])
def test_a_state_that_cannot_be_stored_is_told_once_and_leaves_the_one_before(begin, state):
    first = begin()
    assert first.put_durably("good")
    assert not first.put_durably(state)
    assert not first.put(state)
    first.end(keep=True)
    [told] = first.complaints
    assert told.startswith("a state ")
    assert begin(2).restored().state == "good"


def test_the_newest_state_is_stored_at_the_end_of_an_attempt_that_another_follows(begin):
    first = begin()
    first.put(1)
    keep_storing_until(first, lambda: first.told)
    first.put(2)
    first.end(keep=True)
    assert begin(redelivered=True).restored().state == 2


def test_the_newest_state_is_stored_even_if_that_takes_longer_than_the_end_waits(
    begin, shelf, monkeypatch
):
    monkeypatch.setattr(attempt, "LEAST_WAIT", 0.01)
    shelf.free.clear()
    first = begin()
    first.put(1)
    first.end(keep=True)
    shelf.free.set()
    until(lambda: shelf.records, 10, "the record")
    assert begin(2).restored().state == 1


def test_it_is_cleared_when_the_task_has_succeeded(begin, shelf):
    first = begin()
    first.put(1)
    keep_storing_until(first, lambda: first.told)
    first.end(keep=False)
    until(lambda: not shelf.records, 10, "the record to be cleared")


@pytest.mark.parametrize("flaw", ["fails", "is slow"])
def test_the_end_of_a_task_does_not_wait_for_a_store_that(begin, shelf, monkeypatch, flaw):
    monkeypatch.setattr(attempt, "SHARE", 1000.0)
    monkeypatch.setattr(attempt, "CLEAR_WAIT", 30.0)
    first = begin()
    assert first.put_durably(1)
    if flaw == "fails":
        shelf.error = OSError("it is away")
        assert not first.put_durably(2)
    else:
        monkeypatch.setattr("bridge.checkpoints.storing.QUICK", 0.0)
        assert first.put_durably(2)
    shelf.error = None
    shelf.free.clear()
    first.end(keep=False)
    shelf.free.set()
    until(lambda: not shelf.records, 10, "the record to be cleared")


def test_what_a_dead_process_has_stored_is_cleared_by_its_parent(tmp_path):
    app = Celery("shop", backend=f"file://{tmp_path}", set_as_current=False)
    execution, settings = {"attempt": 2, "redelivered": True}, Settings()
    told = []
    dead = checkpoints_of(app, "task", execution, settings, lambda: None, told.append)
    assert dead.put_durably(1)
    assert told == []
    store = store_in(app.backend, 60)
    assert store.peek("task")
    clear_checkpoint(app, "task", execution, settings, begun=False)
    until(lambda: not store.peek("task"), 10, "the checkpoint to be cleared")


def test_a_first_attempt_that_thaws_changes_nothing(begin, shelf):
    first = begin()
    assert first.put_durably("first")
    second = begin(redelivered=True)
    assert second.restored().state == "first"
    assert not first.put_durably("thawed")
    assert first.complaints == ["a newer attempt of the task runs"]
    first.end(keep=False)
    assert second.put_durably("second")
    assert begin(redelivered=True).restored().state == "second"


def test_what_an_attempt_restores_is_not_what_it_has_stored_itself(begin):
    assert begin().put_durably("first")
    second = begin(2)
    assert second.put_durably("second")
    assert second.told["saved"]
    assert "resumed" not in second.told
    assert second.restored().state == "first"
    assert begin(3).restored().state == "second"


def test_a_store_that_does_not_answer_costs_the_task_nothing(begin, shelf, monkeypatch):
    monkeypatch.setattr(attempt, "PATIENCE", 0.05)
    shelf.free.clear()
    first = begin()
    first.put(1)
    began = time.monotonic()
    for _ in range(100):
        first.put(2)
        first.keep_storing()
    assert time.monotonic() - began < 0.5
    keep_storing_until(first, lambda: first.complaints == [SILENT])
    began = time.monotonic()
    assert not first.put_durably(3)
    first.end(keep=True)
    assert time.monotonic() - began < 2
    shelf.free.set()


def test_a_store_that_answers_again_gets_the_newest_state(begin, shelf, monkeypatch):
    monkeypatch.setattr(attempt, "AGAIN", 0.05)
    shelf.error = OSError("it is away")
    first = begin()
    first.put(1)
    keep_storing_until(first, lambda: first.complaints == ["it is away"])
    assert first.told == {}
    shelf.error = None
    first.put(2)
    keep_storing_until(first, lambda: first.told)
    assert begin(2).restored().state == 2


def test_a_call_that_never_returns_is_given_up_and_another_one_is_made(begin, shelf, monkeypatch):
    monkeypatch.setattr(attempt, "GIVE_UP", 0.1)
    monkeypatch.setattr(attempt, "AGAIN", 0.1)
    monkeypatch.setattr("bridge.results.bounded_calls.PATIENCE", 0.1)
    monkeypatch.setattr("bridge.results.bounded_calls.PAUSE", (0.1, 1.0))
    stuck, shelf.free = shelf.free, threading.Event()
    first = begin()
    first.put(1)
    first.keep_storing()
    until(lambda: shelf.calls, 10, "the first call")
    hung, shelf.free = shelf.free, stuck
    keep_storing_until(first, lambda: first.told)
    hung.set()
    assert begin(2).restored().state == 1


def test_what_cannot_be_read_begins_anew_and_later_states_are_stored(begin, shelf):
    assert begin().put_durably("first")
    shelf.error = OSError("it is away")
    second = begin(2)
    assert second.restored() is None
    [told] = second.complaints
    assert "it is away" in told
    shelf.error = None
    assert second.put_durably("second")
    assert second.restored() is None
    assert "resumed" not in second.told
    assert begin(3).restored().state == "second"


def test_without_a_store_nothing_is_stored_and_one_line_says_what_to_change(begin):
    first = begin(store=lambda: None)
    assert not first.put_durably(1)
    assert not first.put_durably(2)
    [told] = first.complaints
    assert "TASKBRIDGE_CHECKPOINT_URL" in told
    assert begin(2, store=lambda: None).restored() is None


def test_what_was_planted_in_a_store_is_no_error(begin, shelf):
    for body in ("", "[]", '{"at":1}', '{"at":"x","share":null,"state":1}', "[" * 100_000):
        shelf.records["task"] = Record(0, 1, body)
        second = begin(2)
        assert second.restored() is None
        shelf.records.clear()
