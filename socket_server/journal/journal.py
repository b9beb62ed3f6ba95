"""``Journal``: snapshots and recent events of all jobs. Pure, in memory, bounded."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from bridge.protocol.event import SERVER_MADE, Event
from bridge.protocol.json_types import JobEvent, SnapshotData
from bridge.protocol.request_types import JobCounts
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.change import Change
from socket_server.journal.job_record import JobRecord
from socket_server.journal.job_table import JobTable
from socket_server.journal.snapshot_texts import MAX_SNAPSHOT, SnapshotTexts
from socket_server.journal.stream_position import BEGINNING, StreamPosition
from socket_server.journal.view import View, verdict_texts
from socket_server.messages.answer import Encoded
from socket_server.messages.excerpt import Excerpt, Following

__all__ = ["Journal"]

#: Maximum jobs that are held, beyond which ended ones are evicted, and maximum unfinished jobs.
MAX_JOBS, MAX_UNFINISHED = 10_000, 100_000
#: Maximum events of one job that are held for clients that watch it later.
MAX_EVENTS = 1_000
#: Maximum bytes of JSON of held events: of all jobs, and of one.
MAX_BYTES = 256 * 1024 * 1024
MAX_JOB_BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class Evicted:
    """Numbers of jobs that were dropped before their retention ended, to make room for others."""

    ended: int = 0
    unfinished: int = 0


class Journal:
    """Folds events into snapshots and keeps the recent ones.

    Args:
        retention: seconds for which an ended job is kept.
        epoch: name of the sequence of offsets, for cursors; default a random one.
        max_jobs: maximum jobs; unfinished ones are kept beyond it.
        max_unfinished: maximum unfinished jobs.
        max_events: maximum events of one job.
        max_bytes: maximum bytes of the events of all jobs; ended jobs are evicted first, then the
            events, not the snapshots, of the jobs without an event for the longest time.
        max_job_bytes: maximum bytes of the events of one job.
        clock: clock in seconds since the epoch.
    """

    #: Called with the id of each job that is dropped.
    on_forget: Callable[[str], None] = staticmethod(lambda job: None)

    def __init__(
        self,
        *,
        retention: float = 3600.0,
        epoch: str | None = None,
        max_jobs: int = MAX_JOBS,
        max_unfinished: int = MAX_UNFINISHED,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        max_job_bytes: int = MAX_JOB_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.epoch = epoch or uuid.uuid4().hex[:12]
        self._retention = retention
        self._max_jobs, self._max_unfinished = max_jobs, max_unfinished
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._max_job_bytes = min(max_job_bytes, max_bytes)
        self._clock = clock
        #: Number of events folded in so far.
        self._offset = 0
        #: Position up to which the stream has been read; 0 without a stream.
        self._read = 0
        #: Bytes of all events that are held.
        self.size = 0
        #: Whether every unfinished job of which events came is held.
        self.whole = True
        #: Numbers of evicted jobs.
        self.evicted = Evicted()
        self._records = JobTable()
        self._texts = SnapshotTexts()

    def __len__(self) -> int:
        return len(self._records)

    @property
    def unended(self) -> int:
        """Number of unfinished jobs."""
        return self._records.unfinished

    def __contains__(self, job: object) -> bool:
        return job in self._records

    def fold(
        self,
        event: Event,
        offset: int | None = None,
        *,
        late: bool = False,
        past: bool = False,
    ) -> Change | None:
        """Fold an event into its job's snapshot.

        Args:
            event: event of the bus, or of this server.
            offset: its offset in the stream; default the number of events folded in so far.
            late: whether earlier events of its job may have been dropped from the stream.
            past: whether it is replayed, so that its age is known only by its own time.

        Returns:
            The change; None if the event was a duplicate or stale.
        """
        if offset is not None:
            self._read = offset + 1
        self._texts.drop(event.job)
        record = self._records.get(event.job) or JobRecord(
            event.job, headless=(late or not self.whole) and not _begins(event)
        )
        ended = record.snapshot.ended
        if (numbered := record.fold(event)) is None:
            return None
        now = self._clock()
        # Events that servers send, again and again, are no sign of life.
        if event.type not in SERVER_MADE or not record.heard:
            # A replayed event is not older than those before it, whatever its host's clock says.
            record.heard = max(record.heard, min(now, event.at)) if past else now
        self._offset += 1
        passing = event.type == "progress" or event.verdict
        # An event that is not held has the cursor of the one before.
        place = record.last if passing else self._place(event, offset)
        encoded: JobEvent = numbered.encode()
        encoded["cursor"] = place.cursor(self.epoch)
        if totals := record.snapshot.totals(numbered):
            encoded["totals"] = totals
        ends = record.snapshot.ended and not ended
        change = Change(encoded, event, record.snapshot, ends=ends, live=not past)
        if not passing:
            before = record.size
            record.keep(place, change.text)
            self.size += record.size - before
        self._records.put(record)
        self._bound(event.job, record)
        return change

    def _place(self, event: Event, offset: int | None) -> StreamPosition:
        # Plus 1, since offsets of a stream begin at 0, which stands for the beginning here. The
        # position has the worker's own number of the execution, which is the same on all servers.
        return StreamPosition.of(event, self._offset if offset is None else offset + 1)

    def _bound(self, job: str, record: JobRecord) -> None:
        """Make room for a job's new event; the job itself is not evicted."""
        while record.count > self._max_events or record.size > self._max_job_bytes:
            self.size -= record.forget_oldest()
        records = self._records
        while len(records) > self._max_jobs and (ended := records.first_ended(but=job)):
            self._evict(ended)
        if records.unfinished > self._max_unfinished:
            self._evict(records.first_unfinished())
        while self.size > self._max_bytes:
            if ended := records.first_ended(but=job):
                self._evict(ended)
            elif holding := records.first_holding(but=job):
                self.size -= records.forget_events(holding)
            else:
                break

    def _evict(self, job: str) -> None:
        if self._records.has_ended(job):
            self.evicted.ended += 1
        else:
            self.evicted.unfinished += 1
            self.whole = False
        self._forget(job)

    def _forget(self, job: str) -> None:
        self.size -= self._records.remove(job).size
        self._texts.drop(job)
        self.on_forget(job)

    def prune(self) -> None:
        """Drop the jobs whose retention has ended."""
        horizon = self._clock() - self._retention
        for job in self._records.ended():
            # By this server's clock, since a worker's may be hours off.
            if self._records[job].heard <= horizon:
                self._forget(job)

    def restart(self) -> None:
        """Begin a new epoch: events were missed, so earlier cursors are not valid any more."""
        self.epoch = uuid.uuid4().hex[:12]
        self.whole = False
        self.size -= self._records.forget_all_events()

    def is_behind(self, cursor: str) -> bool:
        """Whether a cursor, got from another server, is ahead of all that this one has read.

        Without a stream it never is: each server has offsets of its own.
        """
        place = StreamPosition.decode(cursor, self.epoch)
        return place is not None and place.offset > self._read > 0

    def of(self, job: str) -> Snapshot:
        """Return a job's snapshot, which later events change.

        Raises:
            KeyError: the job is not held.
        """
        return self._records[job].snapshot

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots of all jobs that are held."""
        return [record.snapshot for record in self._records.values()]

    def silent(self, seconds: float) -> list[str]:
        """Return the unfinished jobs of which no event came for so many seconds."""
        horizon, records = self._clock() - seconds, self._records
        silent = (job for job, one in records.items() if one.heard <= horizon)
        return [job for job in silent if not records.has_ended(job)]

    def unheard(self, job: str) -> list[str]:
        """Return the ids of a job's tasks that follow others and of which no event has come."""
        record = self._records.get(job)
        return record.unheard() if record else []

    def owner(self, job: str) -> str | None:
        """Return the owner of a job; None if it has none or is not held."""
        record = self._records.get(job)
        return record.snapshot.owner if record else None

    def snapshot(self, job: str) -> SnapshotData:
        """Return a job's snapshot of at most ``MAX_SNAPSHOT`` bytes.

        Raises:
            KeyError: the job is not held.
        """
        return self._records[job].snapshot.encode(MAX_SNAPSHOT)

    def view(self, job: str, cursor: str | None = None) -> View:
        """Return the view of a job for a client that has its events up to ``cursor``.

        Raises:
            KeyError: the job is not held.
        """
        record = self._records[job]
        place = BEGINNING if cursor is None else StreamPosition.decode(cursor, self.epoch)
        after = None if place is None else record.after(place)
        recovered = after is not None
        if after is None:
            after = record.forgotten.offset
        newest = self.cursor(job)
        length = record.length_after(after)
        return View(
            snapshot=self._texts.of(record.snapshot),
            excerpt=Excerpt(self._reader(job), after, record.last.offset, length),
            verdicts=verdict_texts(record.snapshot, newest),
            recovered=recovered,
            cursor=newest,
        )

    def cursor(self, job: str) -> str:
        """Return the cursor of a client that has all events of a job.

        Raises:
            KeyError: the job is not held.
        """
        return self._records[job].last.cursor(self.epoch)

    def _reader(self, job: str) -> Following:
        """Return a function that reads a job's events one by one, until one is missing."""
        epoch = self.epoch

        def following(after: int) -> tuple[int, str] | None:
            record = self._records.get(job)
            if record is None or epoch != self.epoch:
                return None
            return record.next_after(after)

        return following

    def of_owner(self, owner: str | None) -> list[Snapshot]:
        """Return the snapshots of an owner's jobs; those of all jobs for None."""
        return self.snapshots() if owner is None else list(self._records.owned(owner))

    def text(self, job: str) -> Encoded:
        """Return the JSON of a job's snapshot, of at most ``MAX_SNAPSHOT`` bytes.

        Raises:
            KeyError: the job is not held.
        """
        return self._texts.of(self._records[job].snapshot)

    def has_whole(self, job: str) -> bool:
        """Whether a job is held, and no event of it was missed."""
        record = self._records.get(job)
        if record is None or record.snapshot.queued_at is None:
            return False
        return record.whole and not record.snapshot.incomplete

    def orders(self, job: str) -> dict[str, tuple[int, int, int]]:
        """Return the order of the last event of each task of a job; none if it is not held."""
        record = self._records.get(job)
        return {} if record is None else {one.task: one.order for one in record.snapshot.tasks()}

    def texts(self, job: str) -> list[str]:
        """Return the JSON of the events of a job that are held; none if the job is not held."""
        record = self._records.get(job)
        return [] if record is None else record.texts()

    def counts(self, owner: str) -> JobCounts:
        """Return the numbers of an owner's jobs."""
        return self._records.counts(owner)

    def unfinished(self, owner: str) -> int:
        """Return how many of an owner's jobs have not ended."""
        counts = self.counts(owner)
        return counts["queued"] + counts["running"]


def _begins(event: Event) -> bool:
    """Whether an event is the first of its job, so that no earlier one was missed."""
    if event.type == "queued":
        return event.task == event.job or "total" in event.data
    first_attempt = event.seq == 0 and event.data.get("attempt", 1) == 1
    return event.type == "started" and event.task == event.job and first_attempt
