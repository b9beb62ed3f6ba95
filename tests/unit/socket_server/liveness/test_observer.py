"""What is left of a cancelled job ends once none of its tasks runs."""

from __future__ import annotations

import pytest

from bridge.protocol.event import Event
from socket_server.journal.journal import Journal
from socket_server.liveness.observer import CancelSweep


@pytest.fixture
def journal():
    """A journal with a chord of two tasks, whose body follows them."""
    journal = Journal()
    fold(journal, "queued", task="a", run=0, total=3, followers=["body"])
    fold(journal, "queued", task="b", run=0, total=3)
    return journal


def fold(journal, kind, *, task="chord", run=1, seq=0, **data):
    place = {"run": run, "seq": seq, "at": 1.0}
    return journal.fold(Event(job="chord", task=task, type=kind, name="t", data=data, **place))


def sweep(journal, change):
    """Fold the verdicts that a change leads to, as a server does; return their number."""
    told = list(CancelSweep(journal)(change))
    for event in told:
        journal.fold(event)
    return len(told)


def test_a_chord_that_is_cancelled_before_its_body_was_published_ends(journal):
    for task in ("a", "b"):
        fold(journal, "started", task=task)
        change = fold(journal, "succeeded", task=task, seq=1)
        assert sweep(journal, change) == 0
    assert sweep(journal, fold(journal, "cancelling", run=0)) == 1
    snapshot = journal.of("chord")
    assert (snapshot.state, snapshot.done, snapshot.total) == ("cancelled", 3, 3)


def test_a_body_that_runs_nevertheless_has_the_last_word(journal):
    for task in ("a", "b"):
        fold(journal, "started", task=task)
        fold(journal, "succeeded", task=task, seq=1)
    sweep(journal, fold(journal, "cancelling", run=0))
    fold(journal, "started", task="body")
    fold(journal, "succeeded", task="body", seq=1)
    assert journal.of("chord").state == "succeeded"


def test_a_task_that_still_runs_is_waited_for(journal):
    fold(journal, "started", task="a")
    fold(journal, "started", task="b")
    fold(journal, "succeeded", task="a", seq=1)
    assert sweep(journal, fold(journal, "cancelling", run=0)) == 0
    assert sweep(journal, fold(journal, "cancelled", task="b", seq=1)) == 0
    assert journal.of("chord").state == "cancelled"


def test_tasks_that_wait_are_cancelled_together(journal):
    assert sweep(journal, fold(journal, "cancelling", run=0)) == 1
    assert journal.of("chord").state == "cancelled"


def test_of_a_job_that_is_not_cancelled_nothing_is_presumed(journal):
    for task in ("a", "b"):
        fold(journal, "started", task=task)
        assert sweep(journal, fold(journal, "succeeded", task=task, seq=1)) == 0
    assert journal.of("chord").state == "running"
