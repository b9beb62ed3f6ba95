"""``Database``: the archive's statements, each batch in one transaction with its position."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Engine,
    Table,
    Text,
    bindparam,
    delete,
    func,
    select,
    update,
)
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects import postgresql, sqlite

from bridge.protocol.event import TERMINAL
from socket_server.archive.archived_job import ArchivedJob
from socket_server.archive.finding.kept import kept
from socket_server.archive.schema import (
    CALLS,
    DELIVERIES,
    GAPS,
    JOBS,
    LINES,
    POSITIONS,
    TASKS,
    WORDS,
    Row,
)

__all__ = ["Conflict", "Database", "Rows"]

#: Position before the first message.
NOTHING = -1
#: Jobs that one statement asks for, at most.
AT_ONCE = 500

#: Rows of a batch: of jobs, tasks, lines, words, calls and deliveries.
Rows = tuple[list[Row], list[Row], list[Row], list[Row], list[Row], list[Row]]


class Conflict(Exception):
    """Another archive has written to the same database in the name of the same channel."""


class Database:
    """What is read and written of one channel.

    Args:
        engine: engine of the database, whose tables are up to date.
        channel: channel of the events.
    """

    def __init__(self, engine: Engine, channel: str) -> None:
        self._engine = engine
        #: Channel of the events.
        self.channel = channel
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        self._put_jobs = _upsert(dialect, JOBS)
        self._put_tasks = _upsert(dialect, TASKS)
        self._put_calls = _upsert(dialect, CALLS)
        # The same rows again, if no answer came to a batch that moves no position.
        self._add_deliveries = dialect.insert(DELIVERIES).on_conflict_do_nothing()
        self._add_words = plain_insert(WORDS)
        if dialect is postgresql:
            words = func.array_to_tsvector(bindparam("words", type_=ARRAY(Text)))
            self._add_words = self._add_words.values(job=bindparam("job"), words=words)

    def position(self) -> tuple[int, float | None]:
        """Return the next offset to read, ``NOTHING`` at first, and when it was written."""
        wanted = select(POSITIONS.c.next, POSITIONS.c.at).where(POSITIONS.c.channel == self.channel)
        with self._engine.begin() as connection:
            found = connection.execute(wanted).one_or_none()
            if found is not None:
                return found.next, found.at
            first = {"channel": self.channel, "next": NOTHING, "at": 0.0}
            connection.execute(plain_insert(POSITIONS), first)
        return NOTHING, None

    def load(self, jobs: Iterable[str]) -> dict[str, ArchivedJob]:
        """Return those of some jobs that the archive has."""
        wanted, found = list(map(kept, jobs)), {}
        with self._engine.connect().execution_options(reads=True) as connection:
            for at in range(0, len(wanted), AT_ONCE):
                found.update(_load(connection, wanted[at : at + AT_ONCE]))
        return found

    def write(self, rows: Rows, before: int, after: int, now: float) -> None:
        """Write a batch; nothing of it if it is written already.

        Args:
            rows: what the batch adds or changes.
            before: position before it.
            after: position after it.
            now: seconds since the epoch.

        Raises:
            Conflict: another archive has written in between.
        """
        with self._engine.begin() as connection:
            if not self._advance(connection, before, after, now):
                return
            jobs, tasks, lines, words, calls, deliveries = rows
            for statement, some in (
                (self._put_jobs, jobs),
                (self._put_tasks, tasks),
                (plain_insert(LINES), lines),
                (self._add_words, self._shown(words)),
                (self._put_calls, calls),
                (self._add_deliveries, deliveries),
            ):
                if some:
                    connection.execute(statement, some)

    def _advance(self, connection: Connection, before: int, after: int, now: float) -> bool:
        """Move the position on; return False if that was done, though no answer came."""
        mine = POSITIONS.c.channel == self.channel
        moved = update(POSITIONS).where(mine, POSITIONS.c.next == before)
        if connection.execute(moved.values(next=after, at=now)).rowcount == 1:
            return True
        found = connection.execute(select(POSITIONS.c.next).where(mine)).scalar_one_or_none()
        if found != after:
            raise Conflict
        return False

    def _shown(self, words: list[Row]) -> list[Row]:
        if self._engine.dialect.name == "postgresql":
            return words
        return [{**row, "words": " ".join(row["words"])} for row in words]

    def note_gap(self, since: float | None, until: float, reason: str) -> None:
        """Write that events may be missing, and mark the jobs that were unfinished.

        A gap that is noticed again, since the stream drops more while it is read, grows.

        Args:
            since: when the last message before the gap was written; None if unknown.
            until: when the gap was noticed.
            reason: why, as a sentence.
        """
        gap = {"channel": self.channel, "since": since, "reason": reason}
        same = [GAPS.c[name] == value for name, value in gap.items()]
        open_jobs = JOBS.c.channel == self.channel, JOBS.c.state.not_in(TERMINAL)
        with self._engine.begin() as connection:
            if not connection.execute(update(GAPS).where(*same).values(until=until)).rowcount:
                connection.execute(plain_insert(GAPS), {**gap, "until": until})
            connection.execute(update(JOBS).where(*open_jobs).values(missed=True))

    def remove(self, jobs: Sequence[str]) -> None:
        """Remove all that is written of some jobs, as they are in the tables."""
        with self._engine.begin() as connection:
            for table in (LINES, WORDS, TASKS, CALLS, JOBS):
                connection.execute(delete(table).where(table.c.job.in_(jobs)))

    def oldest(self, before: float, most: int) -> list[tuple[str, int]]:
        """Return jobs, with their bytes, whose newest event was written before a time.

        Their ids are as they are in the tables.

        Args:
            before: seconds since the epoch.
            most: maximum number of jobs, the oldest first.
        """
        wanted = select(JOBS.c.job, JOBS.c.bytes).where(JOBS.c.channel == self.channel)
        wanted = wanted.where(JOBS.c.heard < before).order_by(JOBS.c.heard).limit(most)
        with self._engine.connect().execution_options(reads=True) as connection:
            return [(job, size) for job, size in connection.execute(wanted)]

    def silent(self, before: float, most: int) -> list[str]:
        """Return jobs with a task that runs, and of which no event was written since a time."""
        running = TASKS.c.job == JOBS.c.job, TASKS.c.state == "running"
        wanted = select(JOBS.c.snapshot).where(JOBS.c.channel == self.channel)
        wanted = wanted.where(JOBS.c.state.in_(("running", "cancelling")), JOBS.c.heard < before)
        wanted = wanted.where(select(TASKS.c.task).where(*running).exists()).limit(most)
        with self._engine.connect().execution_options(reads=True) as connection:
            return [json.loads(one)["job"] for one in connection.execute(wanted).scalars()]

    def size(self) -> int:
        """Return the bytes of text of all jobs of all channels."""
        with self._engine.connect().execution_options(reads=True) as connection:
            return int(connection.execute(select(func.sum(JOBS.c.bytes))).scalar_one() or 0)


def _upsert(dialect: Any, table: Table) -> Any:
    """Return the statement that inserts a row, or replaces the one with the same key."""
    statement = dialect.insert(table)
    others = {one.name: statement.excluded[one.name] for one in table.c if not one.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=others)


def _load(connection: Connection, jobs: list[str]) -> dict[str, ArchivedJob]:
    rows = connection.execute(select(JOBS).where(JOBS.c.job.in_(jobs))).mappings().all()
    if not rows:
        return {}
    known = [row["job"] for row in rows]
    wanted = select(TASKS).where(TASKS.c.job.in_(known)).order_by(TASKS.c.job)
    tasks = connection.execute(wanted).mappings()
    of = {job: list(some) for job, some in groupby(tasks, itemgetter("job"))}
    loaded = [ArchivedJob.load(dict(row), map(dict, of.get(row["job"], ()))) for row in rows]
    return {one.snapshot.job: one for one in loaded}
