"""``Retention``: removes jobs by age and by size, and ends silent ones, between batches."""

from __future__ import annotations

import time
from collections.abc import Callable

from socket_server.archive.database import Database
from socket_server.archive.figures import Figures
from socket_server.archive.finding.kept import unkept
from socket_server.archive.writer import ArchiveWriter

__all__ = ["Retention"]

#: Jobs that one transaction removes at most, so that it is short.
AT_ONCE = 100
#: Seconds between two looks, when there was nothing left to remove.
INTERVAL = 30.0


class Retention:
    """Removes the jobs that have had no event for the longest time.

    Args:
        database: the database.
        writer: what else writes to it, on the same thread.
        figures: counters.
        seconds: seconds for which a job is kept after its newest event.
        most: maximum bytes of text of all jobs.
        silence: seconds without an event after which a task that runs counts as lost.
        clock: clock in seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        writer: ArchiveWriter,
        figures: Figures,
        seconds: float,
        most: int,
        silence: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._writer, self._figures = database, writer, figures
        self._seconds, self._most, self._clock = seconds, most, clock
        self._silence = silence
        self._next = 0.0

    def look(self) -> None:
        """Remove some jobs, if it is time to; called often."""
        now = time.monotonic()
        if now >= self._next and not (self.remove_some() or self.lose_some()):
            self._next = now + INTERVAL

    def lose_some(self) -> bool:
        """End jobs whose workers have died; return whether there may be more of them.

        A task that runs sends an event every few seconds. What a server concludes from its silence
        reaches only that server's clients, so the archive concludes it too: long after servers,
        and only when it has read all that was published.
        """
        if not self._figures.idle:
            return False
        horizon = self._clock() - self._silence
        jobs = self._writer.again(lambda: self._database.silent(horizon, AT_ONCE))
        if jobs:
            self._writer.lose(jobs, f"no event came for {self._silence:g} s")
        return bool(jobs)

    def remove_some(self) -> bool:
        """Remove up to ``AT_ONCE`` jobs; return whether there may be more to remove."""
        again, clock = self._writer.again, self._clock
        horizon = clock() - self._seconds
        old = [job for job, _ in again(lambda: self._database.oldest(horizon, AT_ONCE))]
        jobs = old or self._for_room()
        if jobs:
            again(lambda: self._database.remove(jobs))
        for job in jobs:
            self._writer.forget(unkept(job))
        self._figures.removed += len(jobs)
        return bool(jobs)

    def _for_room(self) -> list[str]:
        """Return the oldest jobs, as many as are to be removed for the size, ``AT_ONCE`` at most.

        A job whose events were written within the last seconds stays, whatever its size.
        """
        again = self._writer.again
        over = again(self._database.size) - self._most
        if over <= 0:
            return []
        jobs = []
        for job, size in again(lambda: self._database.oldest(self._clock() - INTERVAL, AT_ONCE)):
            if over <= 0:
                break
            jobs.append(job)
            over -= size
        return jobs
