"""``JobTable``: the records of all jobs, in the orders in which the journal evicts them."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.protocol.request_types import JobCounts
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.job_record import JobRecord

__all__ = ["JobTable"]


class JobTable(dict[str, JobRecord]):
    """The record of each job, in the order of the jobs' last events, the oldest first.

    Records are added by :meth:`put` and removed by :meth:`remove` only.
    """

    def __init__(self) -> None:
        super().__init__()
        # In the same order: ended jobs, and unfinished jobs with held events.
        self._ended: dict[str, None] = {}
        self._holding: dict[str, None] = {}
        self._owners: dict[str, dict[str, None]] = {}

    @property
    def unfinished(self) -> int:
        """Number of unfinished jobs."""
        return len(self) - len(self._ended)

    def put(self, record: JobRecord) -> None:
        """Add a record, or move it behind all others, after an event of its job."""
        job = record.snapshot.job
        for order in (self, self._ended, self._holding):
            order.pop(job, None)
        self[job] = record
        if record.snapshot.ended:
            self._ended[job] = None
        elif record.size:
            self._holding[job] = None
        if record.snapshot.owner:
            self._owners.setdefault(record.snapshot.owner, {})[job] = None

    def remove(self, job: str) -> JobRecord:
        """Remove the record of a job, and return it."""
        record = self.pop(job)
        for order in (self._ended, self._holding):
            order.pop(job, None)
        owner = record.snapshot.owner
        if owner and (jobs := self._owners.get(owner)):
            jobs.pop(job, None)
            if not jobs:
                del self._owners[owner]
        return record

    def forget_events(self, job: str) -> int:
        """Drop the events of an unfinished job; return their size in characters."""
        del self._holding[job]
        return self[job].forget_events()

    def forget_all_events(self) -> int:
        """Drop all events after a gap in the stream; return their size in characters."""
        self._holding.clear()
        return sum(record.forget_all() for record in self.values())

    def has_ended(self, job: str) -> bool:
        """Whether a job is held and has ended."""
        return job in self._ended

    def ended(self) -> list[str]:
        """Return the ids of the ended jobs."""
        return list(self._ended)

    def first_ended(self, but: str) -> str | None:
        """Return the first ended job other than ``but``; None if there is none."""
        return _first(self._ended, but)

    def first_holding(self, but: str) -> str | None:
        """Return the first unfinished job with events other than ``but``; None if there is none."""
        return _first(self._holding, but)

    def first_unfinished(self) -> str:
        """Return the first unfinished job.

        Raises:
            StopIteration: all jobs have ended.
        """
        return next(job for job in self if job not in self._ended)

    def owned(self, owner: str) -> Iterator[Snapshot]:
        """Return the snapshots of an owner's jobs."""
        return (self[job].snapshot for job in self._owners.get(owner, ()))

    def counts(self, owner: str) -> JobCounts:
        """Return the numbers of an owner's jobs."""
        jobs = self._owners.get(owner, {})
        unended = [self[job].snapshot.state for job in jobs if job not in self._ended]
        queued = unended.count("queued")
        ended = len(jobs) - len(unended)
        return {"queued": queued, "running": len(unended) - queued, "ended": ended}


def _first(jobs: dict[str, None], but: str) -> str | None:
    return next((job for job in jobs if job != but), None)
