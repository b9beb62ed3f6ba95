"""``ArchiveWriter``: folds events into jobs, and writes them in batches, each event once."""

from __future__ import annotations

import logging
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Event as Flag
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from bridge.protocol.event import Event
from socket_server.archive.archived_job import ArchivedJob
from socket_server.archive.database import Database, Rows
from socket_server.archive.figures import Figures

__all__ = ["ArchiveWriter", "Stopped"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Events, and seconds since the first of them, after which a batch is written.
MAX_EVENTS, MAX_WAIT = 1_000, 0.5
#: Seconds after which a position is written that no event has moved.
QUIET = 5.0
#: Maximum jobs that are held in memory between batches.
MAX_JOBS = 5_000
#: Seconds between attempts while the database is away: the first and the longest pause.
BACKOFF = (0.2, 5.0)
AWAY = "taskbridge: the archive's database is away, trying again: %s"


class Stopped(Exception):
    """The archive is to stop, and the database does not answer."""


class ArchiveWriter:
    """Takes events in the order of the bus; holds at most one batch of them.

    Args:
        database: the database.
        figures: counters, which are kept up to date.
        stopping: set when the archive is to stop.
        clock: clock in seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        figures: Figures,
        stopping: Flag,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._figures, self._stopping = database, figures, stopping
        self._clock = clock
        self._jobs: OrderedDict[str, ArchivedJob] = OrderedDict()
        self._events: list[Event] = []
        self._begun = self._written_at = time.monotonic()
        #: Position that is written, and that of the next message to be taken.
        self.written, self.next = -1, -1

    def begin(self) -> float | None:
        """Read the position from the database; return when it was written, None for never."""
        self.written, at = self.again(self._database.position)
        self.next = self.written
        return at

    def take(self, event: Event | None, after: int) -> None:
        """Take the event of a message, or a message without one; write if a batch is full.

        Args:
            event: the event; None for none.
            after: position after the message.
        """
        if event is not None:
            if not self._events:
                self._begun = time.monotonic()
            self._events.append(event)
            self._figures.newest_at = event.at
        self.next = after
        if len(self._events) >= MAX_EVENTS:
            self.flush()

    def look(self) -> None:
        """Write what has waited long enough; called often."""
        now = time.monotonic()
        waited = self._events and now - self._begun >= MAX_WAIT
        if waited or (self.next != self.written and now - self._written_at >= QUIET):
            self.flush()

    def flush(self) -> None:
        """Write all events that were taken, in one transaction with the position after them.

        Raises:
            Conflict: another archive has written in between.
            Stopped: the database does not answer, and the archive is to stop.
        """
        if self.next == self.written:
            return
        events, now = self._events, self._clock()
        unknown = {one.job for one in events} - self._jobs.keys()
        if unknown:
            self._jobs.update(self.again(lambda: self._database.load(unknown)))
        rows, count = self._fold(events, now), len(events)
        self.again(lambda: self._database.write(rows, self.written, self.next, now))
        self.written, self._written_at, self._events = self.next, time.monotonic(), []
        self._figures.written += count
        self._forget_oldest()

    def _fold(self, events: list[Event], now: float) -> Rows:
        changed: dict[str, ArchivedJob] = {}
        for event in events:
            job = self._jobs.get(event.job)
            if job is None:
                job = self._jobs[event.job] = ArchivedJob(event.job)
            try:
                folded = job.fold(event)
            except Exception:  # one event must not stop the archive for all jobs
                logger.exception("taskbridge: an event of job %s could not be folded", event.job)
                self._figures.refused += 1
                continue
            if folded:
                changed[event.job] = job
            else:
                self._figures.stale += 1
        return self._rows(changed, now)

    def _rows(self, changed: dict[str, ArchivedJob], now: float) -> Rows:
        rows: Rows = ([], [], [], [], [], [])
        for name, job in changed.items():
            self._jobs.move_to_end(name)
            row, *others = job.rows(self._database.channel, now)
            rows[0].append(row)
            for table, some in zip(rows[1:], others, strict=True):
                table.extend(some)
        return rows

    def lose(self, jobs: Iterable[str], reason: str) -> None:
        """Write that the running tasks of some jobs are lost; a later event overturns it.

        Args:
            jobs: ids of jobs of which no event has come for long.
            reason: why they count as lost, as a sentence.
        """
        self.flush()
        now, names = self._clock(), set(jobs)
        self._jobs.update(self.again(lambda: self._database.load(names - self._jobs.keys())))
        lost = {name: self._jobs[name] for name in names if name in self._jobs}
        for job in lost.values():
            job.lose(now, reason)
        rows = self._rows(lost, now)
        self.again(lambda: self._database.write(rows, self.written, self.written, now))

    def _forget_oldest(self) -> None:
        while len(self._jobs) > MAX_JOBS:
            self._jobs.popitem(last=False)

    def note_gap(self, since: float | None, reason: str) -> None:
        """Write that events were, or may have been, missed since a time."""
        logger.warning("taskbridge: %s; what the archive has of unfinished jobs is marked", reason)
        self.flush()
        self.again(lambda: self._database.note_gap(since, self._clock(), reason))
        self._figures.gaps += 1
        self._jobs.clear()

    def forget(self, job: str) -> None:
        """Forget a job that was removed from the database."""
        self._jobs.pop(job, None)

    def again(self, call: Callable[[], T]) -> T:
        """Return what a call to the database returns; repeat it until the database answers.

        Raises:
            Stopped: the archive is to stop, and the database does not answer.
        """
        failures = 0
        while True:
            try:
                answer = call()
            except SQLAlchemyError as error:
                self._figures.failures += 1
                self._figures.interrupt()
                self._figures.away = str(getattr(error, "orig", None) or error).strip()
                if not failures:
                    logger.warning(AWAY, self._figures.away)
                if self._stopping.wait(_delay(failures)):
                    raise Stopped from None
                failures += 1
            else:
                self._figures.away = None
                return answer


def _delay(failures: int) -> float:
    first, longest = BACKOFF
    return min(longest, first * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
