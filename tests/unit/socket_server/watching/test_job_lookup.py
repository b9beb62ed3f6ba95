"""``JobLookup``: where a requested job was found, and for whom."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bridge import Grant, JobNotFound, ResultsUnavailable
from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.archive.finding.asked import AskedSnapshot
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


class SlowCall:
    """Stands in for a call on the archive's thread, which takes some seconds."""

    def __init__(self, clock, seconds, text):
        self._clock, self._at, self._text = clock, clock.now + seconds, text
        self.abandoned = False

    @property
    def done(self):
        return self._clock.now >= self._at

    def abandon(self):
        self.abandoned = True

    def wait(self, within):
        if not self.done:
            raise ResultsUnavailable("silent")
        return self._text


class SlowArchive:
    """Stands in for an archive that has at most a job ``j`` of Ada's, and answers after a while."""

    def __init__(self, clock, seconds, found=None):
        self._clock, self._seconds, self._found = clock, seconds, found
        self.calls = []

    def ask(self, job, grant):
        named = self._found is not None and job == "j" and grant.names(job, "ada")
        text = json.dumps(self._found) if named else None
        self.calls.append(SlowCall(self._clock, self._seconds, text))
        return AskedSnapshot(self.calls[-1])


ENDED = {**DONE, "owner": "ada", "source": "events", "state": "failed"}
RUNS = {**ENDED, "state": "running"}


@pytest.mark.parametrize("grant", [ADA, JOB_J, Grant(owner="me", scope="watch operate")])
def test_a_job_that_only_the_archive_has_is_found_as_soon_as_it_answers(lookup, clock, grant):
    lookup._archive, began = SlowArchive(clock, 0.5, ENDED), clock.now
    found = lookup.find("j", grant)
    assert isinstance(found, StoredJob)
    assert (found.encode(), found.owner) == (ENDED, "ada")
    assert clock.now - began == pytest.approx(0.5, abs=0.1)


def test_a_job_that_the_archive_has_as_unfinished_may_have_its_first_event_yet(
    lookup, journal, stored, clock
):
    lookup._archive = SlowArchive(clock, 0.1, RUNS)
    assert lookup.find("j", ADA).encode() == RUNS
    stored["j"] = DONE
    assert lookup.find("j", JOB_J).encode() == DONE, "the result backend has its end"
    stored["j"] = {**DONE, "state": "running"}
    assert lookup.find("j", JOB_J).encode() == RUNS
    lookup.hold(lookup.find("j", ADA))
    assert (journal.owner("j"), journal.of("j").state) == ("ada", "running")


def test_a_job_that_is_held_is_found_at_once_though_the_archive_is_away(lookup, journal, clock):
    begin(journal)
    lookup._archive, began = SlowArchive(clock, 1e9), clock.now
    assert isinstance(lookup.find("j", ADA), HeldJob)
    assert clock.now == began


def test_a_question_to_the_archive_that_nothing_waits_for_any_more_is_withdrawn(
    lookup, journal, clock, monkeypatch
):
    lookup._archive = SlowArchive(clock, 1e9)
    with pytest.raises(ResultsUnavailable):
        lookup.find("unknown", ADA)

    def first_event(seconds):
        clock.tick(seconds)
        begin(journal)

    monkeypatch.setattr(lookup, "_sleep", first_event)
    assert isinstance(lookup.find("j", ADA), HeldJob)
    assert [call.abandoned for call in lookup._archive.calls] == [True, True]


def test_an_archive_that_does_not_answer_shows_for_every_job_alike_after_a_bounded_wait(
    lookup, journal, stored, clock
):
    begin(journal, "b", owner="bob")
    lookup._archive = SlowArchive(clock, 1e9)
    for job in ("j", "b", "unknown"):
        began = clock.now
        with pytest.raises(ResultsUnavailable, match="the archive does not answer: try again"):
            lookup.find(job, ADA)
        assert clock.now - began == pytest.approx(FIRST_EVENT, abs=0.1)
    stored["j"] = DONE
    assert lookup.find("j", JOB_J).encode() == DONE
