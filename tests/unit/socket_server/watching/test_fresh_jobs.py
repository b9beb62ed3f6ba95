"""``FreshJobs``: jobs count for their owner's quota before the first event of them has come."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bridge.protocol.event import Event
from socket_server.journal.journal import Journal
from socket_server.watching import fresh_jobs
from socket_server.watching.fresh_jobs import FRESH, FreshJobs
from support.clock import Clock


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(fresh_jobs, "time", SimpleNamespace(monotonic=clock))
    return clock


@pytest.fixture
def journal():
    return Journal()


@pytest.fixture
def fresh(journal, clock):
    return FreshJobs(journal)


def test_a_job_counts_while_it_is_published_and_afterwards(fresh):
    with fresh.publishing("ada"):
        assert (fresh.count("ada"), fresh.count("bob")) == (1, 0)
        fresh.add("j", "ada")
    assert (fresh.count("ada"), fresh.count("bob")) == (1, 0)


def test_a_job_that_could_not_be_published_does_not_count(fresh):
    with pytest.raises(OSError, match="no broker"), fresh.publishing("ada"):
        raise OSError("no broker")
    assert fresh.count("ada") == 0


def test_a_job_no_longer_counts_once_the_journal_holds_it(fresh, journal):
    fresh.add("j", "ada")
    journal.fold(Event(job="j", task="j", type="queued", at=1000.0, owner="ada"))
    assert fresh.count("ada") == 0


def test_a_job_without_an_event_counts_for_a_minute(fresh, clock):
    fresh.add("j", "ada")
    clock.tick(FRESH)
    assert fresh.count("ada") == 1
    clock.tick(0.1)
    assert fresh.count("ada") == 0
