"""``JobLookup``: where a requested job was found, and for whom."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bridge import Grant, JobNotFound, ResultsUnavailable
from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.concurrency.state_lock import NoLock
from socket_server.journal.journal import Journal
from socket_server.watching import job_lookup
from socket_server.watching.job_lookup import CATCH_UP, FIRST_EVENT, HeldJob, JobLookup, StoredJob
from support.clock import Clock

ADA = Grant(owner="ada")
#: A token that names one job, which needs no event of it.
JOB_J = Grant(jobs=frozenset({"j"}))
DONE = {**Snapshot("j").encode(), "state": "succeeded", "source": "result"}


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(job_lookup, "time", SimpleNamespace(monotonic=clock, time=clock))
    return clock


@pytest.fixture
def journal():
    return Journal(epoch="e1")


@pytest.fixture
def stored(monkeypatch):
    """The snapshots that the result backend has, by job."""
    stored = {}
    monkeypatch.setattr(job_lookup, "from_result", lambda app, job: stored.get(job))
    monkeypatch.setattr(job_lookup, "can_read", lambda backend: True)
    return stored


@pytest.fixture
def lookup(journal, stored, clock):
    bridge = SimpleNamespace(app=SimpleNamespace(backend=None))
    return JobLookup(bridge, journal, clock.tick, NoLock(), lambda: False, journal.fold)


def begin(journal, job="j", owner="ada"):
    journal.fold(Event(job=job, task=job, type="started", at=1.0, owner=owner, run=1))


def test_a_job_of_the_journal_is_the_journals_own_snapshot(lookup, journal):
    begin(journal)
    found = lookup.find("j", ADA)
    assert isinstance(found, HeldJob)
    assert found.current is journal.of("j")
    assert (found.state, found.encode()) == ("running", journal.snapshot("j"))


def test_a_job_that_is_not_held_is_found_in_the_result_backend(lookup, stored):
    stored["j"] = DONE
    found = lookup.find("j", JOB_J)
    assert isinstance(found, StoredJob)
    assert (found.state, found.encode()) == ("succeeded", DONE)


def test_a_job_whose_first_event_comes_late_is_waited_for(lookup, journal, clock):
    began = clock.now

    def sleep(seconds):
        clock.tick(seconds)
        if clock.now >= began + 1.0:
            begin(journal)

    lookup._sleep = sleep
    assert isinstance(lookup.find("j", ADA), HeldJob)
    assert clock.now - began < FIRST_EVENT


def test_a_job_without_an_event_and_a_result_may_still_wait_in_its_queue(lookup):
    found = lookup.find("j", JOB_J)
    assert isinstance(found, StoredJob)
    assert (found.state, found.encode()["incomplete"]) == ("queued", True)


@pytest.mark.parametrize("state", ["queued", "running", "retrying"])
def test_an_unfinished_job_of_the_result_backend_is_held_until_its_own_events_come(
    lookup, journal, stored, state
):
    bars = [{"position": 0, "n": 37, "total": 100}]
    stored["j"] = {**DONE, "state": state, "name": "shop.record", "bars": bars}
    found = lookup.find("j", JOB_J)
    lookup.hold(found)
    lookup.hold(found)  # for another client
    held = journal.of("j")
    assert (held.state, held.name, held.incomplete) == (state, "shop.record", True)
    assert held.bars == (bars if state == "running" else [])
    assert not journal.view("j", None).recovered
    begin(journal)
    assert (held.state, held.owner, held.encode()["tasks"][0]["attempt"]) == ("running", "ada", 1)
    assert journal.unfinished("ada") == 1


def test_a_server_that_holds_every_unfinished_job_finds_no_other(lookup):
    lookup._whole = lambda: True
    with pytest.raises(JobNotFound):
        lookup.find("j", JOB_J)


def test_why_a_job_is_unknown_is_told_to_a_token_of_its_id_whether_it_exists_or_not(
    lookup, journal
):
    lookup._whole = lambda: True
    begin(journal, owner="bob")
    why = "its service uses another broker than this server"
    with pytest.raises(JobNotFound, match=why):
        lookup.find("unknown", Grant(jobs=frozenset({"unknown"})))
    for job in ("j", "unknown"):
        with pytest.raises(JobNotFound, match=f"^no job {job} that this token names$"):
            lookup.find(job, ADA)


def test_a_server_that_is_seconds_behind_a_cursor_catches_up_before_it_answers(
    lookup, journal, clock
):
    ahead = Journal(epoch="e1")
    first = Event(job="j", task="j", type="started", at=1.0, owner="ada", run=1)
    ahead.fold(first, offset=0)
    cursor = ahead.fold(replace(first, type="log", seq=1), offset=1)["cursor"]
    journal.fold(first, offset=0)
    began = clock.now

    def sleep(seconds):
        clock.tick(seconds)
        if clock.now >= began + CATCH_UP / 2:
            journal.fold(replace(first, type="log", seq=1), offset=1)

    lookup._sleep = sleep
    assert lookup.await_cursor(cursor)
    assert journal.view("j", cursor).recovered
    assert clock.now - began < CATCH_UP


def test_a_cursor_that_the_stream_never_reaches_is_waited_for_with_a_bound(lookup, journal, clock):
    journal.fold(Event(job="j", task="j", type="started", at=1.0, run=1), offset=0)
    began = clock.now
    assert not lookup.await_cursor("e1:99.1")
    assert clock.now - began == pytest.approx(CATCH_UP, abs=0.1)


def test_without_a_stream_no_cursor_is_waited_for(lookup, journal, clock):
    begin(journal)
    began = clock.now
    assert lookup.await_cursor("e1:99.1")
    assert clock.now == began


def test_a_job_of_another_owner_is_not_found_and_takes_as_long_as_one_that_does_not_exist(
    lookup, journal, stored, clock
):
    begin(journal, owner="bob")
    stored["j"] = DONE
    for job in ("j", "unknown"):
        began = clock.now
        with pytest.raises(JobNotFound):
            lookup.find(job, ADA)
        assert clock.now - began == pytest.approx(FIRST_EVENT, abs=0.1)


def test_a_result_backend_that_does_not_answer_shows_for_a_named_job_alone(lookup, monkeypatch):
    def fail(app, job):
        raise ResultsUnavailable("no answer")

    monkeypatch.setattr(job_lookup, "from_result", fail)
    with pytest.raises(ResultsUnavailable):
        lookup.find("j", JOB_J)
    with pytest.raises(JobNotFound):
        lookup.find("j", ADA)


def test_progress_that_a_task_has_stored_is_read_and_a_silent_backend_has_none(lookup, monkeypatch):
    monkeypatch.setattr(job_lookup, "stored_progress", lambda app, job: {"n": 3, "of": job})
    assert lookup.stored_progress("j") == {"n": 3, "of": "j"}

    def silent(app, job):
        raise ResultsUnavailable("silent")

    monkeypatch.setattr(job_lookup, "stored_progress", silent)
    assert lookup.stored_progress("j") is None
