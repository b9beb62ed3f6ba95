"""``Journal``: snapshots and recent events of all jobs. Pure, in memory, bounded."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from bridge.protocol.event import SERVER_MADE, Event, finite_json
from bridge.protocol.json_types import JobEvent, SnapshotData
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.change import Change
from socket_server.journal.job_record import BEGINNING, JobRecord, StreamPosition, position_of
from socket_server.messages.answer import Body, Encoded
from socket_server.messages.excerpt import Excerpt, Following

__all__ = ["Journal", "Page", "View"]

#: Maximum jobs that are held, beyond which ended ones are evicted, and maximum unfinished jobs.
MAX_JOBS, MAX_UNFINISHED = 10_000, 100_000
#: Maximum events of one job that are held for clients that watch it later.
MAX_EVENTS = 1_000
#: Maximum bytes of JSON of held events: of all jobs, and of one.
MAX_BYTES = 256 * 1024 * 1024
MAX_JOB_BYTES = 8 * 1024 * 1024
#: Maximum bytes of JSON in an answer: of a snapshot, of the verdicts that come with it, and of the
#: snapshots in a page.
MAX_SNAPSHOT, MAX_VERDICTS, MAX_PAGE = 28 * 1024, 4 * 1024, 30 * 1024
#: Maximum bytes of snapshots that are cached as JSON.
MAX_TEXTS = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class View:
    """The answer to a client that begins, or continues, to watch a job."""

    #: JSON of the snapshot.
    snapshot: Encoded
    #: Events that are held after the client's cursor; all held ones if ``recovered`` is False.
    excerpt: Excerpt
    #: JSON of verdicts that no later event has overturned.
    verdicts: list[str]
    #: Whether all events after the client's cursor are held.
    recovered: bool
    #: Cursor of the newest event that must be delivered.
    cursor: str

    def encode(self, **more: object) -> Body:
        """Return the answer of ``watch``, with more fields; its events can be read once."""
        told = {"snapshot": self.snapshot, "recovered": self.recovered, "cursor": self.cursor}
        return Body({**more, **told}, self.excerpt, ",".join(self.verdicts))

    @property
    def events(self) -> list[JobEvent]:
        """All events, decoded; they can be read once."""
        return [*self.excerpt.events(), *map(json.loads, self.verdicts)]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an owner's jobs."""

    #: JSON of their snapshots, the newest job first.
    jobs: list[Encoded]
    #: Position of the next page; None if there is none.
    next: str | None
    #: Number of jobs that were examined.
    looked: int


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
        self._offset = 0
        #: Bytes of all events that are held.
        self.size = 0
        #: Whether every unfinished job of which events came is held.
        self.whole = True
        #: Numbers of evicted jobs.
        self.evicted = Evicted()
        # In the order of the last events, the oldest first: all jobs, ended jobs, and unfinished
        # jobs with held events.
        self._records: dict[str, JobRecord] = {}
        self._ended: dict[str, None] = {}
        self._holding: dict[str, None] = {}
        self._owners: dict[str, dict[str, None]] = {}
        #: JSON of unchanged snapshots, in the order in which they were encoded.
        self._texts: dict[str, Encoded] = {}
        self._texts_size = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def unended(self) -> int:
        """Number of unfinished jobs."""
        return len(self._records) - len(self._ended)

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
        self._drop_text(event.job)
        record = self._records.get(event.job) or JobRecord(
            event.job, headless=(late or not self.whole) and not _begins(event)
        )
        ended = record.snapshot.ended
        if (numbered := record.fold(event)) is None:
            return None
        now = self._clock()
        # Events that servers send, again and again, are no sign of life.
        if event.type not in SERVER_MADE or not record.heard:
            record.heard = min(now, event.at) if past else now
        self._offset += 1
        # Plus 1, since offsets of a stream begin at 0, which stands for the beginning here. The
        # position has the worker's own number of the execution, which is the same on all servers.
        place = position_of(event, self._offset if offset is None else offset + 1)
        passing = event.type == "progress" or event.verdict
        if passing:
            place = record.last  # it is not held, so its cursor is that of the event before
        encoded: JobEvent = {**numbered.encode(), "cursor": self._cursor(place)}
        ends = record.snapshot.ended and not ended
        change = Change(encoded, event, record.snapshot, ends=ends, live=not past)
        if not passing:
            before = record.size
            record.keep(place, change.text)
            self.size += record.size - before
        self._place(event.job, record)
        self._bound(event.job, record)
        return change

    def _place(self, job: str, record: JobRecord) -> None:
        for order in (self._records, self._ended, self._holding):
            order.pop(job, None)
        self._records[job] = record
        if record.snapshot.ended:
            self._ended[job] = None
        elif record.size:
            self._holding[job] = None
        if record.snapshot.owner:
            self._owners.setdefault(record.snapshot.owner, {})[job] = None

    def _bound(self, job: str, record: JobRecord) -> None:
        """Make room for a job's new event; the job itself is not evicted."""
        while record.count > self._max_events or record.size > self._max_job_bytes:
            self.size -= record.forget_oldest()
        while len(self._records) > self._max_jobs and (ended := _first(self._ended, job)):
            self._evict(ended)
        if self.unended > self._max_unfinished:
            self._evict(next(one for one in self._records if one not in self._ended))
        while self.size > self._max_bytes:
            if ended := _first(self._ended, job):
                self._evict(ended)
            elif holding := _first(self._holding, job):
                del self._holding[holding]
                self.size -= self._records[holding].forget_events()
            else:
                break

    def _evict(self, job: str) -> None:
        if job in self._ended:
            self.evicted.ended += 1
        else:
            self.evicted.unfinished += 1
            self.whole = False
        self._forget(job)

    def _forget(self, job: str) -> None:
        record = self._records.pop(job)
        for order in (self._ended, self._holding):
            order.pop(job, None)
        self.size -= record.size
        self._drop_text(job)
        self.on_forget(job)
        owner = record.snapshot.owner
        if owner and (jobs := self._owners.get(owner)):
            jobs.pop(job, None)
            if not jobs:
                del self._owners[owner]

    def prune(self) -> None:
        """Drop the jobs whose retention has ended."""
        horizon = self._clock() - self._retention
        for job in list(self._ended):
            # By this server's clock, since a worker's may be hours off.
            if self._records[job].heard <= horizon:
                self._forget(job)

    def restart(self) -> None:
        """Begin a new epoch: events were missed, so earlier cursors are not valid any more."""
        self.epoch = uuid.uuid4().hex[:12]
        self.whole = False
        self._holding.clear()
        for record in self._records.values():
            self.size -= record.forget_all()

    def is_behind(self, job: str, cursor: str) -> bool:
        """Whether a cursor, got from another server, is ahead of this server's events of a job."""
        place, record = self._place_of(cursor), self._records.get(job)
        return bool(place and record and place.offset > record.last.offset)

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
        horizon, records = self._clock() - seconds, self._records.items()
        return [job for job, one in records if one.heard <= horizon and job not in self._ended]

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
        place = BEGINNING if cursor is None else self._place_of(cursor)
        after = None if place is None else record.after(place)
        recovered = after is not None
        if after is None:
            after = record.forgotten.offset
        last, told = record.last.offset, self._cursor(record.last)
        excerpt = Excerpt(self._reader(job), after, last, record.length_after(after))
        return View(
            self._text(job), excerpt, self._verdicts(record.snapshot, told), recovered, told
        )

    def _text(self, job: str) -> Encoded:
        """Return a job's snapshot as JSON, cached: after a restart many clients request it."""
        if (text := self._texts.get(job)) is not None:
            return text
        text = self._texts[job] = Encoded(finite_json(self.snapshot(job)))
        self._texts_size += len(text)
        while self._texts_size > MAX_TEXTS:
            self._drop_text(next(iter(self._texts)))
        return text

    def _drop_text(self, job: str) -> None:
        self._texts_size -= len(self._texts.pop(job, ""))

    def _reader(self, job: str) -> Following:
        """Return a function that reads a job's events one by one, until one is missing."""
        epoch = self.epoch

        def following(after: int) -> tuple[int, str] | None:
            record = self._records.get(job)
            if record is None or epoch != self.epoch:
                return None
            return record.next_after(after)

        return following

    def _verdicts(self, snapshot: Snapshot, cursor: str) -> list[str]:
        """Return JSON of the verdicts not overturned, as many as fit in ``MAX_VERDICTS`` bytes."""
        told, left = [], MAX_VERDICTS
        for verdict in snapshot.verdicts():
            text = finite_json({**verdict.encode(), "cursor": cursor})
            left -= len(text)
            if left < 0:
                break
            told.append(text)
        return told

    def jobs(
        self, owner: str, *, limit: int, state: str | None = None, after: str | None = None
    ) -> Page:
        """Return a page of an owner's jobs, the newest first, as many as fit in ``MAX_PAGE`` bytes.

        Args:
            owner: owner of the jobs.
            limit: maximum number of jobs.
            state: state of the jobs; None for any.
            after: ``next`` of the previous page; None for the first page.

        Raises:
            ValueError: ``after`` is not the ``next`` of a page.
        """
        beyond = _decode_next(after) if after is not None else None
        held = [(one.queued_at or one.at, one.job, one) for one in self._of(owner)]
        held.sort(key=itemgetter(0, 1), reverse=True)
        listed: list[Encoded] = []
        left, last = MAX_PAGE, None
        for at, job, one in held:
            if beyond is not None and (at, job) >= beyond:
                continue
            if state is not None and one.state != state:
                continue
            text = self._text(job)
            left -= len(text) + 1
            if listed and (left < 0 or len(listed) == limit):
                return Page(listed, _encode_next(last), len(held))
            listed.append(text)
            last = at, job
        return Page(listed, None, len(held))

    def unfinished(self, owner: str) -> int:
        """Return how many of an owner's jobs have not ended."""
        return sum(not snapshot.ended for snapshot in self._of(owner))

    def _of(self, owner: str) -> Iterator[Snapshot]:
        return (self._records[job].snapshot for job in self._owners.get(owner, ()))

    def _cursor(self, place: StreamPosition) -> str:
        return f"{self.epoch}:{place.offset}.{place.check}"

    def _place_of(self, cursor: str) -> StreamPosition | None:
        """Return a cursor's position; None if the cursor is not of this epoch."""
        epoch, _, rest = cursor.rpartition(":")
        offset, _, check = rest.partition(".")
        if epoch != self.epoch or not (offset.isdecimal() and check.isdecimal()):
            return None
        return StreamPosition(int(offset), int(check))


def _encode_next(place: tuple[float, str] | None) -> str | None:
    return None if place is None else f"{place[0]!r}:{place[1]}"


def _decode_next(text: str) -> tuple[float, str]:
    at, colon, job = text.partition(":")
    if not (colon and job and math.isfinite(place := float(at))):
        raise ValueError("it is no place in a list of jobs")
    return place, job


def _first(jobs: dict[str, None], but: str) -> str | None:
    """Return the first of several jobs other than ``but``; None if there is none."""
    return next((job for job in jobs if job != but), None)


def _begins(event: Event) -> bool:
    """Whether an event is the first of its job, so that no earlier one was missed."""
    if event.type == "queued":
        return event.task == event.job or "total" in event.data
    first_attempt = event.seq == 0 and event.data.get("attempt", 1) == 1
    return event.type == "started" and event.task == event.job and first_attempt
