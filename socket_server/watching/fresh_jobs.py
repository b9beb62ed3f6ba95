"""``FreshJobs``: jobs that clients enqueue here, until the first event of each has come."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from socket_server.journal.journal import Journal
from socket_server.limits.counter import KeyedCounter

__all__ = ["FreshJobs"]

#: Seconds for which a job that was enqueued here counts as unfinished without an event of it.
FRESH = 60.0


class FreshJobs:
    """Counts an owner's jobs that the journal does not hold yet, for the quota of its jobs.

    Args:
        journal: the jobs that the server holds.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        #: Owner and time (monotonic seconds) of each job that was published a moment ago.
        self._published: dict[str, tuple[str, float]] = {}
        #: Number of jobs of each owner that are being published.
        self._publishing = KeyedCounter()

    @contextmanager
    def publishing(self, owner: str) -> Iterator[None]:
        """Count a job of an owner while the ``with`` block publishes it."""
        self._publishing.enter(owner)
        try:
            yield
        finally:
            self._publishing.leave(owner)

    def add(self, job: str, owner: str) -> None:
        """Count a job that was published, until an event of it comes."""
        self._published[job] = owner, time.monotonic()

    def count(self, owner: str) -> int:
        """Return how many jobs of an owner are being published, or have no event yet."""
        horizon = time.monotonic() - FRESH
        published = self._published.items()
        for job in [job for job, (_, at) in published if job in self._journal or at < horizon]:
            del self._published[job]
        return sum(one == owner for one, _ in self._published.values()) + self._publishing[owner]
