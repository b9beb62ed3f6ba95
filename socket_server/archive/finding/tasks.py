"""``JobTasks``: the tasks of a job for a tree or a timeline, of the journal and the archive."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from operator import itemgetter
from typing import cast
from urllib.parse import quote, unquote

from bridge.protocol.json_types import JobState, JSONObject
from bridge.protocol.request_types import TaskNode
from bridge.protocol.task_state import TaskState
from bridge.tokens import Grant
from socket_server.archive.finding.kept import kept
from socket_server.archive.finding.wanted import Archive, ArchiveUnavailable, check_found
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import StateLock
from socket_server.journal.journal import Journal
from socket_server.messages.answer import Encoded
from socket_server.messages.requests import text, whole
from socket_server.messages.strict_json import encode

__all__ = ["JobTasks"]

#: Most tasks in one answer, and those of an answer that says no number.
MAX_LISTED = 1_000
#: Longest cursor, in characters: the id of a task, in which a character may be escaped.
MAX_CURSOR = 3_100

#: A task, and what it is sorted by.
Sorted = tuple[str, TaskNode]


class JobTasks:
    """Lists tasks, in the order of their ids, so that no page depends on what happens meanwhile.

    Args:
        journal: the jobs that the server holds.
        archive: the archive; None without one.
        state_lock: the state lock, released while the archive is asked.
        pace: lets expensive requests work one by one.
    """

    def __init__(
        self, journal: Journal, archive: Archive | None, state_lock: StateLock, pace: Pace
    ) -> None:
        self._journal, self._archive, self._state_lock = journal, archive, state_lock
        self._pace = pace

    def page(self, request: JSONObject, grant: Grant, most: int) -> JSONObject:
        """Return a page of the tasks of a job, as the fields of an answer.

        Args:
            request: has ``job``, ``limit`` and ``cursor``, the ``next`` of the answer before.
            grant: of the client.
            most: maximum bytes of JSON of the tasks; one task may have more.

        Raises:
            Refused: a field is wrong.
            JobNotFound: there is no such job, or the token does not name it.
            ArchiveUnavailable: the server does not hold the job, or the token does not name it, and
                the archive does not answer.
        """
        job = text(request, "job")
        limit = whole(request, "limit", default=MAX_LISTED, most=MAX_LISTED)
        after = kept(unquote(text(request, "cursor", required=False, most=MAX_CURSOR)))
        self._state_lock.outside(self._pace.wait)
        found, away = self._archived(job, grant, after, limit + 1)
        held = self._names(job, grant)
        check_found(job, held=held, archived=found is not None, away=away)
        with self._pace.work():
            newer = self._of_journal(job, after, limit + 1) if held else []
            return _filled(_joined(_of_archive(found or ()), newer), limit, most)

    def _names(self, job: str, grant: Grant) -> bool:
        return job in self._journal and grant.names(job, self._journal.owner(job))

    def _archived(
        self, job: str, grant: Grant, after: str, most: int
    ) -> tuple[list[TaskNode] | None, bool]:
        """Return what the archive has, and whether it does not answer.

        It is not asked about a job of which the journal knows all tasks. For any job that the token
        does not name it is asked, so that the time does not tell whether there is one.
        """
        whole = self._journal.has_whole(job) and self._names(job, grant)
        if self._archive is None or whole:
            return None, False
        try:
            return self._state_lock.outside(self._archive.tasks, job, grant, after, most), False
        except ArchiveUnavailable:
            return None, True

    def _of_journal(self, job: str, after: str, most: int) -> list[Sorted]:
        keyed = ((kept(one.task), one) for one in self._journal.of(job).tasks())
        first = nsmallest(most, (one for one in keyed if one[0] > after), key=itemgetter(0))
        return [(key, _node(one)) for key, one in first]


def _node(task: TaskState) -> TaskNode:
    return {
        "task": task.task,
        "parent": task.parent,
        "name": task.name,
        "state": cast("JobState", task.state),
        "queued_at": task.queued_at,
        "started_at": task.started_at,
        "ended_at": task.ended_at,
    }


def _of_archive(tasks: Iterable[TaskNode]) -> list[Sorted]:
    return [(kept(one["task"]), one) for one in tasks]


def _joined(older: list[Sorted], newer: list[Sorted]) -> list[TaskNode]:
    """Return all tasks in order; of a task in both, what the newer one does not know is older."""
    tasks = dict(older)
    for key, one in newer:
        tasks[key] = _completed(one, tasks[key]) if key in tasks else one
    return [tasks[key] for key in sorted(tasks)]


def _completed(newer: TaskNode, older: TaskNode) -> TaskNode:
    return {
        **newer,
        "parent": newer["parent"] or older["parent"],
        "queued_at": newer["queued_at"] or older["queued_at"],
        "started_at": newer["started_at"] or older["started_at"],
    }


def _filled(tasks: list[TaskNode], limit: int, most: int) -> JSONObject:
    texts: list[Encoded] = []
    for task in tasks[:limit]:
        text = Encoded(encode(_in_order(task)))
        most -= len(text) + 1
        if texts and most < 0:
            break
        texts.append(text)
    rest = len(texts) < len(tasks)
    return {"tasks": texts, "next": _cursor(tasks[len(texts) - 1]["task"]) if rest else None}


def _in_order(task: TaskNode) -> TaskNode:
    """Return a task that was published before it started.

    Its publisher takes the time once the broker has the message, which a worker may have begun by
    then, or has another clock.
    """
    queued_at, started_at = task["queued_at"], task["started_at"]
    if queued_at is None or started_at is None or queued_at <= started_at:
        return task
    return {**task, "queued_at": started_at}


def _cursor(task: str) -> str:
    """Return the id of a task as text that any request can have."""
    return quote(task, safe="", errors="surrogatepass")
