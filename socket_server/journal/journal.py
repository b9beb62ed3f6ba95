"""The journal: what this server knows of all jobs. Pure, in memory, bounded."""

from __future__ import annotations

import json
import math
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from bridge.protocol.event import SERVER_MADE, Event, finite_json
from bridge.protocol.json_types import SnapshotData
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.change import Change
from socket_server.journal.job_record import BEGINNING, JobRecord, StreamPosition, position_of
from socket_server.messages.answer import Body, Encoded
from socket_server.messages.excerpt import Excerpt, Following

__all__ = ["Journal", "Page", "View"]

#: Jobs held at most, of which those that have ended go first, and jobs that have not ended.
MAX_JOBS, MAX_UNFINISHED = 10_000, 100_000
#: Events of one job held for those who come late.
MAX_EVENTS = 1_000
#: Bytes of JSON of the events held: of all jobs, and of one.
MAX_BYTES = 256 * 1024 * 1024
MAX_JOB_BYTES = 8 * 1024 * 1024
#: Bytes of JSON that an answer holds at most: of a snapshot, of the verdicts that come with it, and
#: of the snapshots in a page.
MAX_SNAPSHOT, MAX_VERDICTS, MAX_PAGE = 28 * 1024, 4 * 1024, 30 * 1024
#: Bytes of snapshots that are kept as JSON.
MAX_TEXTS = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class View:
    """What a client gets that begins, or goes on, to watch a job."""

    #: JSON of the snapshot.
    snapshot: Encoded
    #: Events that are held.
    excerpt: Excerpt
    #: JSON of verdicts that still stand.
    verdicts: list[str]
    recovered: bool
    cursor: str

    def encode(self, **more: Any) -> Body:
        """Return it as the answer of ``watch``, with more fields; its events can be read once."""
        told = {"snapshot": self.snapshot, "recovered": self.recovered, "cursor": self.cursor}
        return Body({**more, **told}, self.excerpt, ",".join(self.verdicts))

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events, decoded; they can be read once."""
        return [*self.excerpt.events(), *map(json.loads, self.verdicts)]


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an owner's jobs."""

    #: JSON of their snapshots, those enqueued last first.
    jobs: list[Encoded]
    #: Where the next page begins; None if there is none.
    next: str | None
    #: Jobs that were looked at for it.
    looked: int


@dataclass(slots=True)
class Evicted:
    """Jobs that were forgotten before their time, so that others have room."""

    ended: int = 0
    unfinished: int = 0


class Journal:
    """Folds events into snapshots and keeps the recent ones.

    Args:
        retention: seconds that a finished job is kept.
        epoch: what the offsets belong to; default a new one for this process.
        max_jobs: jobs held at most; more only of those that have not ended.
        max_unfinished: jobs held at most that have not ended.
        max_events: events of one job held at most.
        max_bytes: bytes of events held at most, of all jobs; jobs that have ended go first, then
            the events, not the snapshots, of those that were silent longest.
        max_job_bytes: bytes of events of one job held at most.
        clock: seconds since the epoch.
    """

    #: Called with each job that is not held any more.
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
        #: Whether each job that has not ended is held, of those of which there were events.
        self.whole = True
        #: Jobs that made room for others: how many had ended, and how many had not.
        self.evicted = Evicted()
        # In the order of their last event, so that those silent longest come first: all jobs, those
        # that have ended, and those that have not and hold events.
        self._records: dict[str, JobRecord] = {}
        self._ended: dict[str, None] = {}
        self._holding: dict[str, None] = {}
        self._owners: dict[str, dict[str, None]] = {}
        #: Snapshots as JSON, those that were asked for last and have not changed since.
        self._texts: dict[str, Encoded] = {}
        self._texts_size = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def unended(self) -> int:
        """Jobs that are held and have not ended."""
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
        """Take an event in.

        Args:
            event: what came over the bus.
            offset: its place in the stream; default a count of this journal's own.
            late: whether earlier events of its job may be there no more.
            past: whether it is read of the past, so that only its own time tells its age.

        Returns:
            What it changed; None if it was a duplicate or stale.
        """
        self._drop_text(event.job)
        record = self._records.get(event.job) or JobRecord(
            event.job, headless=(late or not self.whole) and not _begins(event)
        )
        ended = record.snapshot.ended
        if (numbered := record.fold(event)) is None:
            return None
        now = self._clock()
        # What a server makes itself, again and again, is no sign of life.
        if event.type not in SERVER_MADE or not record.heard:
            record.heard = min(now, event.at) if past else now
        self._offset += 1
        # Offsets of a stream begin at 0, which here stands for the beginning. The place has the
        # worker's own number of the execution, which does not depend on what a server has seen.
        place = position_of(event, self._offset if offset is None else offset + 1)
        passing = event.type == "progress" or event.verdict
        if passing:
            place = record.last  # who has seen it needs nothing that came before
        encoded = {**numbered.encode(), "cursor": self._cursor(place)}
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
        """Make room for what a job has just got; the job itself stays."""
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
        """Forget jobs that ended longer ago than the retention."""
        horizon = self._clock() - self._retention
        for job in list(self._ended):
            # By this server's clock: that of a worker may be hours off.
            if self._records[job].heard <= horizon:
                self._forget(job)

    def restart(self) -> None:
        """Begin a new epoch: events were missed, so no earlier cursor is good any more."""
        self.epoch = uuid.uuid4().hex[:12]
        self.whole = False
        self._holding.clear()
        for record in self._records.values():
            self.size -= record.forget_all()

    def is_behind(self, job: str, cursor: str) -> bool:
        """Whether a client has seen more of a job than this server, another server's client say."""
        place, record = self._place_of(cursor), self._records.get(job)
        return bool(place and record and place.offset > record.last.offset)

    def of(self, job: str) -> Snapshot:
        """Return a job's snapshot, which goes on to change.

        Raises:
            KeyError: it is not held.
        """
        return self._records[job].snapshot

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots of all jobs that are held."""
        return [record.snapshot for record in self._records.values()]

    def silent(self, seconds: float) -> list[str]:
        """Return the jobs that have not ended, and of which nothing was heard for so long."""
        horizon, records = self._clock() - seconds, self._records.items()
        return [job for job, one in records if one.heard <= horizon and job not in self._ended]

    def unheard(self, job: str) -> list[str]:
        """Return the ids of a job's tasks that are known to follow others, and no more of them."""
        record = self._records.get(job)
        return record.unheard() if record else []

    def owner(self, job: str) -> str | None:
        """Return whose job it is; None if it is nobody's or not held."""
        record = self._records.get(job)
        return record.snapshot.owner if record else None

    def snapshot(self, job: str) -> SnapshotData:
        """Return a job's snapshot, as large as one may be.

        Raises:
            KeyError: it is not held.
        """
        return self._records[job].snapshot.encode(MAX_SNAPSHOT)

    def view(self, job: str, cursor: str | None = None) -> View:
        """Return what a client needs that has seen the job up to ``cursor``.

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
        """Return a job's snapshot as JSON, which many ask for after a server's restart."""
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
        """Return what reads a job's events one by one, as long as nothing is missed."""
        epoch = self.epoch

        def following(after: int) -> tuple[int, str] | None:
            record = self._records.get(job)
            if record is None or epoch != self.epoch:
                return None
            return record.next_after(after)

        return following

    def _verdicts(self, snapshot: Snapshot, cursor: str) -> list[str]:
        """Return the verdicts that still stand, as many as may be told at once."""
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
        """Return an owner's jobs, those enqueued last first, as many as fit into a page.

        Args:
            owner: whose.
            limit: jobs at most.
            state: of all of them; None for any.
            after: the ``next`` of the page before; None for the first.

        Raises:
            ValueError: ``after`` is none.
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
        """Return a cursor's place; None if it is not one of this epoch."""
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
    """Return the first of several jobs that is not a given one."""
    return next((job for job in jobs if job != but), None)


def _begins(event: Event) -> bool:
    """Whether a job's first event is this one, and not another that was forgotten."""
    if event.type == "queued":
        return event.task == event.job or "total" in event.data
    first_attempt = event.seq == 0 and event.data.get("attempt", 1) == 1
    return event.type == "started" and event.task == event.job and first_attempt
