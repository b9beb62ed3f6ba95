"""The journal: what this server knows of all jobs. Pure, in memory, bounded."""

from __future__ import annotations

import itertools
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bridge.events import Event
from bridge.snapshot import Snapshot

__all__ = ["Journal", "View"]

#: Jobs held at most; the one that was silent longest goes first, finished ones before others.
MAX_JOBS = 10_000
#: Events of one job held for those who come late.
MAX_EVENTS = 1_000


@dataclass(frozen=True, slots=True)
class View:
    """What a client gets that begins, or goes on, to watch a job."""

    snapshot: dict[str, Any]
    events: list[dict[str, Any]]
    recovered: bool
    cursor: str

    def encode(self) -> dict[str, Any]:
        """Return it as the answer of ``watch``."""
        return {
            "snapshot": self.snapshot,
            "events": self.events,
            "recovered": self.recovered,
            "cursor": self.cursor,
        }


class Record:
    """One job in the journal."""

    __slots__ = ("events", "forgotten", "snapshot")

    def __init__(self, job: str) -> None:
        self.snapshot = Snapshot(job)
        #: Events that must be delivered, with their offsets.
        self.events: deque[tuple[int, dict[str, Any]]] = deque()
        #: Offset of the newest event that is held no more.
        self.forgotten = 0

    def keep(self, offset: int, message: dict[str, Any], most: int) -> None:
        self.events.append((offset, message))
        while len(self.events) > most:
            self.forgotten, _ = self.events.popleft()

    def since(self, offset: int) -> list[dict[str, Any]]:
        return [message for at, message in self.events if at > offset]


class Journal:
    """Folds events into snapshots and keeps the recent ones.

    Args:
        retention: seconds that a finished job is kept.
        epoch: what the offsets belong to; default a new one for this process.
        max_jobs: jobs held at most.
        max_events: events of one job held at most.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        *,
        retention: float = 3600.0,
        epoch: str | None = None,
        max_jobs: int = MAX_JOBS,
        max_events: int = MAX_EVENTS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.epoch = epoch or uuid.uuid4().hex[:12]
        self._retention = retention
        self._max_jobs = max_jobs
        self._max_events = max_events
        self._clock = clock
        self._offset = 0
        # In the order of their last event, so that those silent longest come first.
        self._records: dict[str, Record] = {}
        self._owners: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, job: object) -> bool:
        return job in self._records

    def fold(self, event: Event) -> dict[str, Any] | None:
        """Take an event in.

        Returns:
            What watchers get: the event with its cursor; None if it was a duplicate or stale.
        """
        record = self._records.get(event.job) or Record(event.job)
        if not record.snapshot.apply(event):
            return None
        self._offset += 1
        message = {**event.encode(), "cursor": self._cursor(self._offset)}
        if event.type != "progress":
            record.keep(self._offset, message, self._max_events)
        self._place(event.job, record)
        return message

    def _place(self, job: str, record: Record) -> None:
        self._records.pop(job, None)
        self._records[job] = record
        if record.snapshot.owner:
            self._owners.setdefault(record.snapshot.owner, {})[job] = None
        if len(self._records) > self._max_jobs:
            self._forget(self._least_wanted())

    def _least_wanted(self) -> str:
        oldest = itertools.islice(self._records.items(), 100)
        ended = (job for job, record in oldest if record.snapshot.ended)
        return next(ended, next(iter(self._records)))

    def _forget(self, job: str) -> None:
        owner = self._records.pop(job).snapshot.owner
        if owner and (jobs := self._owners.get(owner)):
            jobs.pop(job, None)
            if not jobs:
                del self._owners[owner]

    def prune(self) -> None:
        """Forget jobs that ended longer ago than the retention."""
        horizon = self._clock() - self._retention
        for job, record in list(self._records.items()):
            # All are looked at: the clock of a worker that is ahead must not protect the others.
            if record.snapshot.at <= horizon and record.snapshot.ended:
                self._forget(job)

    def owner(self, job: str) -> str | None:
        """Return whose job it is; None if it is nobody's or not held."""
        record = self._records.get(job)
        return record.snapshot.owner if record else None

    def snapshot(self, job: str) -> dict[str, Any]:
        """Return a job's snapshot.

        Raises:
            KeyError: it is not held.
        """
        return self._records[job].snapshot.encode()

    def view(self, job: str, cursor: str | None = None) -> View:
        """Return what a client needs that has seen the job up to ``cursor``.

        Raises:
            KeyError: the job is not held.
        """
        record = self._records[job]
        offset = self._offset_of(cursor)
        start = 0 if offset is None else offset
        complete = record.forgotten <= start and (cursor is None or offset is not None)
        return View(
            record.snapshot.encode(), record.since(start), complete, self._cursor(self._offset)
        )

    def jobs(self, owner: str, *, limit: int, state: str | None = None) -> list[dict[str, Any]]:
        """Return an owner's jobs as snapshots, those enqueued last first."""
        newest = sorted(self._of(owner), key=lambda one: one.queued_at or one.at, reverse=True)
        wanted = (one for one in newest if state is None or one.state == state)
        return [one.encode() for one in itertools.islice(wanted, limit)]

    def _of(self, owner: str) -> Iterator[Snapshot]:
        return (self._records[job].snapshot for job in self._owners.get(owner, ()))

    def _cursor(self, offset: int) -> str:
        return f"{self.epoch}:{offset}"

    def _offset_of(self, cursor: str | None) -> int | None:
        """Return a cursor's offset; None if it is not one of this epoch."""
        epoch, _, offset = (cursor or "").partition(":")
        if epoch != self.epoch or not offset.isdecimal():
            return None
        return int(offset) if int(offset) <= self._offset else None
