"""What a token does not name cannot be found, counted, timed or told from nothing, by any question.

Each question is asked of two servers: one has jobs of several owners, the other has only those that
the token names. Answers, waits and the database's work must be the same.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event as signals

from bridge.errors import JobNotFound
from bridge.tokens import Grant
from socket_server.archive.finding.log import JobLog
from socket_server.archive.finding.tasks import JobTasks
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import NoLock
from socket_server.journal.journal import Journal
from socket_server.messages.requests import Refused
from socket_server.watching import job_lookup
from socket_server.watching.job_lookup import JobLookup
from socket_server.watching.job_search import JobSearch
from support.archive import FilledArchive
from support.clock import Clock
from support.searches import Known, pages, searched_jobs, searches

ANN = Grant(owner="ann")
#: Questions; the first one is the only one that is not about one job.
KINDS = ("jobs", "log", "tasks", "snapshot", "call")
#: Steps of SQLite's machine: in a few more, a row of another owner is found and left.
FEW = 40


class Steps:
    """Counts the steps of SQLite's machine in the calls of an archive."""

    def __init__(self, archive):
        self.count = 0
        signals.listen(archive._engine, "connect", self._watch)

    def _watch(self, connection, _):
        connection.set_progress_handler(self._step, 1)

    def _step(self):
        self.count += 1
        return 0


class World:
    """A server's parts that answer questions about jobs.

    Args:
        filled: archive, which gets those of the jobs that are archived.
        jobs: all jobs that there are.
        clock: virtual time.
    """

    def __init__(self, filled, jobs, clock):
        filled.fill([event for one in jobs if one.archived for event in one.events])
        journal = Journal()
        for one in jobs:
            for event in one.events * one.held:
                journal.fold(event)
        self._archive = filled.archive
        parts = journal, filled.archive, NoLock()
        bridge = SimpleNamespace(app=SimpleNamespace(backend=None))
        self._search = JobSearch(*parts, pace := Pace(lambda seconds: None))
        self._log, self._tasks = JobLog(*parts), JobTasks(*parts, pace)
        tell, archive = journal.fold, filled.archive
        told = NoLock(), lambda: True, tell, archive
        self._lookup = JobLookup(bridge, journal, clock.tick, *told)

    def answer(self, grant, kind, job, request):
        """Return the answer to a question, or how it is refused."""
        try:
            if kind == "jobs":
                return pages(self._search, request, grant)
            if kind == "log":
                return b"".join(self._log.pieces(job, grant))
            if kind == "tasks":
                return self._tasks.page({"job": job}, grant, 1000)
            if kind == "call":
                return self._archive.calls([job], grant)
            return self._lookup.find(job, grant).encode()
        except (JobNotFound, Refused) as refusal:
            return type(refusal), str(refusal)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    with FilledArchive(f"sqlite:///{tmp_path_factory.mktemp('archive')}/archive.sqlite") as filled:
        yield filled


@pytest.fixture(scope="module")
def steps(filled):
    return Steps(filled.archive)


@pytest.fixture(scope="module")
def clock():
    clock, patch = Clock(), pytest.MonkeyPatch()
    patch.setattr(job_lookup, "time", SimpleNamespace(monotonic=clock, time=clock))
    patch.setattr(job_lookup, "from_result", lambda app, job: None)
    yield clock
    patch.undo()


def asked(world, clock, steps, *question):
    """Return an answer, whether it took long, and the steps of the database for it."""
    at, before = clock.now, steps.count
    answer = world.answer(*question)
    return answer, clock.now - at >= job_lookup.FIRST_EVENT, steps.count - before


@settings(max_examples=30)
@given(
    searched_jobs(),
    st.sets(st.sampled_from(["j0", "j1", "j2"])),
    st.sampled_from(["j0", "j1", "j2", "unknown"]),
    searches(),
)
def test_no_question_tells_whether_there_are_jobs_that_the_token_does_not_name(
    filled, steps, clock, jobs, single, job, request_
):
    grant = Grant(owner="ann", jobs=frozenset(single))
    named = [one for one in jobs if grant.names(one.job, one.owner)]
    told, alone = (
        [asked(world, clock, steps, grant, kind, job, request_) for kind in KINDS]
        for world in (World(filled, some, clock) for some in (jobs, named))
    )
    assert [one[:2] for one in told] == [one[:2] for one in alone]
    for more, fewer in zip(told[1:], alone[1:], strict=True):
        assert abs(more[2] - fewer[2]) <= FEW


def many(count, owner, **more):
    """Return so many archived jobs that differ only in their ids."""
    told = {"name": "app.a", "at": 100.0, "state": "failed", "line": "disk full " * 50, **more}
    return [Known(f"{owner}{n}", owner, held=False, archived=True, **told) for n in range(count)]


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        ("log", {}),
        ("tasks", {}),
        ("snapshot", {}),
        ("call", {}),
        ("jobs", {"limit": 5}),
        ("jobs", {"limit": 5, "state": "failed"}),
        ("jobs", {"limit": 5, "state": "failed", "text": "disk full", "since": 99, "until": 101}),
        ("jobs", {"limit": 5, "name": "app.a", "text": "disk nowhere"}),
    ],
)
def test_the_work_of_an_answer_does_not_grow_with_the_jobs_of_others(
    filled, steps, clock, kind, request_
):
    question = ANN, kind, "bob7", request_
    own = many(10, "ann")
    alone = asked(World(filled, own, clock), clock, steps, *question)
    told = asked(World(filled, [*own, *many(200, "bob")], clock), clock, steps, *question)
    assert told[:2] == alone[:2]
    # There are twenty times as many jobs; an index of words has a few more levels and segments.
    assert told[2] <= 2 * alone[2] + FEW
