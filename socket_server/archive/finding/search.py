"""``ArchiveSearch``: reads the archive for a server, on a real thread and with a bounded wait."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import SingletonThreadPool

from bridge.errors import ResultsUnavailable
from bridge.protocol.request_types import TaskNode, WebhookDelivery
from bridge.results.bounded_calls import BoundedCalls
from bridge.tokens import Grant
from socket_server.archive.finding.asked import AskedSnapshot
from socket_server.archive.finding.deliveries import deliveries_of, failing_deliveries
from socket_server.archive.finding.kept import kept
from socket_server.archive.finding.one_job import calls_of, log_of, marked, snapshot_of, tasks_of
from socket_server.archive.finding.wanted import ArchivedLog, ArchiveUnavailable, Found, Wanted
from socket_server.archive.finding.with_word import with_word
from socket_server.archive.migrating import new_engine
from socket_server.archive.schema import JOBS, LINES

__all__ = ["ArchiveSearch"]

T = TypeVar("T")

#: Seconds that an answer of the archive is waited for.
PATIENCE = 3.0
#: What PostgreSQL is told of each connection: it only reads, and gives up when nobody waits.
READING = f"-c default_transaction_read_only=on -c statement_timeout={PATIENCE * 1000:.0f}"


class ArchiveSearch:
    """Answers searches.

    Args:
        url: ``TASKBRIDGE_ARCHIVE_URL``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._calls = BoundedCalls()

    @functools.cached_property
    def _engine(self) -> Engine:
        # Made on the thread that uses it. A stuck thread keeps its connection, and the next one has
        # one of its own.
        options = {} if self._url.startswith("sqlite") else {"connect_args": {"options": READING}}
        return new_engine(self._url, poolclass=SingletonThreadPool, **options)

    def close(self) -> None:
        """End the connection to the database, which the next call would make anew."""
        self._calls.ask(self._engine.dispose, within=PATIENCE)

    def find(self, wanted: Wanted, after: tuple[float, str] | None, most: int) -> list[Found]:
        """Return jobs, the newest first.

        Args:
            wanted: which jobs.
            after: place of the last job of the page before; None for the first page.
            most: maximum number of jobs.

        Raises:
            ArchiveUnavailable: the archive does not answer.
        """
        return self._ask(lambda connection: _find(connection, wanted, after, most))

    def snapshots(self, jobs: list[str]) -> dict[str, str]:
        """Return the JSON of the snapshots of those of some jobs that the archive has.

        Raises:
            ArchiveUnavailable: the archive does not answer.
        """
        ids = list(map(kept, jobs))
        return self._ask(lambda connection: _snapshots(connection, ids))

    def ask(self, job: str, grant: Grant) -> AskedSnapshot:
        """Ask for a job's snapshot, and do not wait for the answer.

        Args:
            job: id of the job.
            grant: of the client; the archive answers as for an unknown job if it names another.
        """
        return AskedSnapshot(
            self._calls.offer(self._read, lambda one: snapshot_of(one, job, grant))
        )

    def log(self, job: str, grant: Grant) -> ArchivedLog | None:
        """Return how much of a job's log the archive has; None for an unknown job.

        Raises:
            ArchiveUnavailable: the archive does not answer.
        """
        return self._ask(lambda connection: log_of(connection, job, grant))

    def tasks(self, job: str, grant: Grant, after: str, most: int) -> list[TaskNode] | None:
        """Return tasks of a job; None for an unknown job.

        Args:
            job: id of the job.
            grant: of the client.
            after: id of a task, as ``kept`` writes it, behind which they are; "" for the first.
            most: maximum number of tasks, in the order of their ids' code points.

        Raises:
            ArchiveUnavailable: the archive does not answer.
        """
        return self._ask(lambda connection: tasks_of(connection, job, grant, after, most))

    def deliveries(self, job: str | None, most: int) -> list[WebhookDelivery]:
        """Return deliveries to webhooks, the newest first: of a job, or those that fail.

        Args:
            job: id of the job; None for those of all jobs that fail, or were given up lately.
            most: maximum number of deliveries.

        Raises:
            ArchiveUnavailable: the archive does not answer.
        """
        if job is None:
            return self._ask(lambda connection: failing_deliveries(connection, most))
        return self._ask(lambda connection: deliveries_of(connection, job, most))

    def lines(self, job: str, part: int, most: int) -> list[str]:
        """Return the JSON of up to ``most`` parts of a job's lines, from a part on.

        Raises:
            ArchiveUnavailable: the archive does not answer.
        """
        wanted = select(LINES.c.body).where(LINES.c.job == kept(job), LINES.c.part >= part)
        wanted = wanted.order_by(LINES.c.part).limit(most)
        return self._ask(lambda connection: list(connection.execute(wanted).scalars()))

    def calls(self, jobs: list[str], grant: Grant) -> dict[str, tuple[str, str | None]]:
        """Return the JSON of the snapshot and the kept call of those of some jobs that it has.

        Args:
            jobs: ids of the jobs.
            grant: of the client; jobs that it does not name are left out.

        Raises:
            ArchiveUnavailable: the archive does not answer.
        """
        return self._ask(lambda connection: calls_of(connection, jobs, grant))

    def _ask(self, read: Callable[[Connection], T]) -> T:
        try:
            return self._calls.ask(self._read, read, within=PATIENCE)
        except ResultsUnavailable as error:
            raise ArchiveUnavailable(str(error)) from error

    def _read(self, read: Callable[[Connection], T]) -> T:
        """Return what a function reads from the database, on the thread of the calls."""
        try:
            with self._engine.connect().execution_options(reads=True) as connection:
                return read(connection)
        except SQLAlchemyError as error:
            raise ArchiveUnavailable(str(error)) from error


def _find(
    connection: Connection, wanted: Wanted, after: tuple[float, str] | None, most: int
) -> list[Found]:
    place = tuple_(JOBS.c.at, JOBS.c.job)
    found = select(JOBS.c.at, JOBS.c.job, func.length(JOBS.c.snapshot))
    for one in _conditions(wanted):
        found = found.where(one)
    for word in dict.fromkeys(wanted.words):
        found = found.where(with_word(connection, wanted.owner, word))
    if after is not None:
        found = found.where(place < tuple_(literal(after[0]), literal(kept(after[1]))))
    found = found.order_by(JOBS.c.at.desc(), JOBS.c.job.desc()).limit(most)
    return [Found(*row) for row in connection.execute(found)]


def _conditions(wanted: Wanted) -> Iterable[ColumnElement[bool]]:
    if wanted.owner is not None:
        yield JOBS.c.owner == kept(wanted.owner)
    if wanted.state is not None and wanted.owner is None:
        yield JOBS.c.state == wanted.state
    elif wanted.state is not None:
        # So that no index of states is read: it would lead through the jobs of other owners, and
        # the time of the search would depend on how many they are.
        yield func.coalesce(JOBS.c.state, "") == wanted.state
    if wanted.name is not None:
        yield JOBS.c.name == kept(wanted.name)
    if wanted.since is not None:
        yield JOBS.c.at >= wanted.since
    if wanted.until is not None:
        yield JOBS.c.at < wanted.until


def _snapshots(connection: Connection, jobs: list[str]) -> dict[str, str]:
    found = connection.execute(select(JOBS.c.snapshot, JOBS.c.missed).where(JOBS.c.job.in_(jobs)))
    snapshots = (marked(text) if missed else text for text, missed in found)
    return {json.loads(text)["job"]: text for text in snapshots}
