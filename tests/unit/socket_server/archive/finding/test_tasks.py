"""The tasks of a job, wherever archive and journal have them: each once, with parent and times."""

from __future__ import annotations

import json
from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import JobNotFound
from bridge.protocol.event import Event
from bridge.tokens import Grant
from socket_server.archive.finding.kept import kept
from socket_server.archive.finding.tasks import JobTasks
from socket_server.archive.finding.wanted import ArchiveUnavailable
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import NoLock
from socket_server.journal.journal import Journal
from socket_server.messages.requests import Refused
from support.archive import FilledArchive
from support.searches import Away
from support.wire import flaws

GRANT = Grant(owner="o")
#: Ids of tasks, which may be any text.
IDS = ["j\\", "j\0", "größer", "\n", "J", "ja", "\U0001f600", "a%2"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    with FilledArchive(f"sqlite:///{tmp_path_factory.mktemp('archive')}/archive.sqlite") as filled:
        yield filled


def story(task, parent, at, *, ended):
    """Return the events of a task."""
    told = {"job": "j", "task": task, "name": f"app.{task}", "owner": "o"}
    said = {} if parent is None else {"parent": parent}
    events = [
        Event(**told, type="queued", at=at, data=said),
        Event(**told, type="started", at=at + 1, run=1, data=said),
        Event(**told, type="started", at=at + 2, run=2, data={"attempt": 2}),
    ]
    return [*events, Event(**told, type="succeeded", at=at + 3, run=2, seq=1)][: 3 + ended]


def node(task, parent, at, *, ended):
    """Return what is to be known of it."""
    state = "succeeded" if ended else "running"
    times = {"queued_at": at, "started_at": at + 2, "ended_at": at + 3 if ended else None}
    return {"task": task, "parent": parent, "name": f"app.{task}", "state": state, **times}


def tasks_of(filled, archived, held, archive=None, **options):
    filled.fill(archived)
    journal = Journal(**options)
    for one in held:
        journal.fold(one, late=True)
    return JobTasks(journal, archive or filled.archive, NoLock(), Pace(lambda seconds: None))


def pages(tasks, grant=GRANT, most=10**6, **request):
    """Return the tasks of all pages, and how many each page has."""
    found, sizes, cursor = [], [], None
    while cursor or not sizes:
        page = tasks.page({"job": "j", "cursor": cursor, **request}, grant, most)
        got = [json.loads(one) for one in page["tasks"]]
        assert flaws({"tasks": got, "next": page["next"]}, "TasksPage") == []
        found, cursor = found + got, page["next"]
        sizes.append(len(got))
    return found, sizes


@settings(max_examples=40)
@given(
    st.dictionaries(st.sampled_from(IDS), st.tuples(st.sampled_from(["j", *IDS]), st.booleans())),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 4),
    st.sampled_from([1, 400, 10**6]),
)
def test_all_pages_together_are_all_tasks_each_once_wherever_they_are(
    filled, others, missed, more, limit, most
):
    known = {"j": (None, True), **others}
    stories = [
        story(task, parent, float(at), ended=ended)
        for at, (task, (parent, ended)) in enumerate(known.items(), start=1)
    ]
    events = [one for stage in zip_longest(*stories) for one in stage if one is not None]
    # The server has missed the first events, which the archive has.
    archived, held = events[: missed + more], events[missed:]
    found, sizes = pages(tasks_of(filled, archived, held), limit=limit, most=most)
    assert found == sorted(
        (
            node(task, parent, float(at), ended=ended)
            for at, (task, (parent, ended)) in enumerate(known.items(), start=1)
        ),
        key=lambda one: kept(one["task"]),
    )
    assert max(sizes) <= limit


def test_a_job_that_the_server_has_seen_from_its_start_needs_no_archive(filled):
    events = story("j", None, 1.0, ended=False)
    tasks = tasks_of(filled, [], events, Away())
    assert pages(tasks)[0] == [node("j", None, 1.0, ended=False)]
    tasks._journal.restart()  # events may have been missed: what is held is shown all the same
    assert pages(tasks)[0] == [node("j", None, 1.0, ended=False)]


def test_a_task_that_replaced_itself_keeps_the_parent_that_published_it_first(filled):
    events = story("j", None, 1.0, ended=False)
    again = Event(job="j", task="j", type="started", at=9.0, owner="o", run=3, data={"parent": "b"})
    for archived, held in (([*events, again], []), ([], [*events, again])):
        [found] = pages(tasks_of(filled, archived, held))[0]
        assert (found["parent"], found["queued_at"], found["started_at"]) == (None, 1.0, 9.0)


def test_tasks_are_those_of_jobs_that_the_token_names_wherever_they_are(filled):
    events = story("j", None, 1.0, ended=True)
    for archived, held in ((events, []), ([], events), (events, events)):
        tasks = tasks_of(filled, archived, held)
        for job in ("j", "unknown"):
            with pytest.raises(JobNotFound, match=f"^no job {job} that this token names$"):
                tasks.page({"job": job}, Grant(owner="other"), 1000)
        for grant in (Grant(owner="me", scope="watch operate"), Grant(jobs=frozenset({"j"}))):
            assert len(pages(tasks, grant)[0]) == 1


def test_without_an_answer_of_the_archive_that_is_said_of_every_job_that_is_not_held(filled):
    tasks = tasks_of(filled, [], story("j", None, 1.0, ended=True), Away())
    for job, grant in (("j", Grant(owner="other")), ("unknown", GRANT)):
        with pytest.raises(ArchiveUnavailable, match="try again"):
            tasks.page({"job": job}, grant, 1000)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "job must be"),
        ({"job": "j", "limit": 0}, "limit must be a whole number from 1 to 1000"),
        ({"job": "j", "cursor": "\0"}, "cursor must be without control characters"),
        ({"job": "j", "cursor": 7}, "cursor must be"),
    ],
)
def test_a_wrong_request_is_refused_in_a_sentence(filled, fields, reason):
    with pytest.raises(Refused, match=reason):
        tasks_of(filled, [], []).page(fields, GRANT, 1000)


def test_a_task_is_not_published_after_it_has_started(filled):
    told = {"job": "j", "task": "j", "owner": "o"}
    events = [Event(**told, type="queued", at=5.0), Event(**told, type="started", at=4.0, run=1)]
    for archived, held in ((events, []), ([], events)):
        [found] = pages(tasks_of(filled, archived, held))[0]
        assert (found["queued_at"], found["started_at"]) == (4.0, 4.0)
