"""``Retention``: removes jobs by age and by size, and ends silent ones, between batches.

``Attention``: whether it has heard jobs for long enough to call a silent one lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from socket_server.archive.database import Database
from socket_server.archive.figures import Figures
from socket_server.archive.finding.kept import unkept
from socket_server.archive.writer import ArchiveWriter

__all__ = ["Attention", "Retention"]

#: Jobs that one transaction removes at most, so that it is short.
AT_ONCE = 100
#: Seconds between two looks, when there was nothing left to remove.
INTERVAL = 30.0


class Attention:
    """Tells the silence of jobs from an archive that did not listen.

    While broker or database were away, or the archive was suspended, no event was written, of any
    job. The events are read afterwards, and some come later still: workers publish what they kept
    only once they are connected again.

    Args:
        figures: whether all is read, and how often that was interrupted.
        grace: seconds without an interruption, from the moment that all is read.
        clock: monotonic clock in seconds, which may stand still while the machine is suspended.
        wall: clock in seconds since the epoch, which does not.
    """

    def __init__(
        self,
        figures: Figures,
        grace: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._figures, self._grace, self._clocks = figures, grace, (clock, wall)
        self._looked_at = self._now()
        self._interruptions = figures.interruptions
        #: When all was read for the first time since the last interruption; None before.
        self._since: float | None = None
        #: When all was read for the last time, as far as known.
        self._idle_at = 0.0

    def _now(self) -> tuple[float, float]:
        clock, wall = self._clocks
        return clock(), wall()

    def look(self) -> None:
        """Note interruptions, and whether all is read; called once a second if there are none."""
        before, self._looked_at = self._looked_at, self._now()
        # A silence that is shorter than half the grace looks like no lost job.
        paused = max(b - a for a, b in zip(before, self._looked_at, strict=True)) > self._grace / 2
        if paused or self._interruptions != self._figures.interruptions:
            self._interruptions = self._figures.interruptions
            self._since = None  # what is known to be read may be what was known before
        elif self._figures.idle:
            self._idle_at = self._looked_at[0]
            self._since = self._idle_at if self._since is None else self._since

    def lasts(self) -> bool:
        """Return whether all was read a moment ago, and the archive has listened for the grace."""
        self.look()
        now = self._looked_at[0]
        # Not at this very moment: a heartbeat of the broker, or any event, has just been read.
        behind = now - self._idle_at > self._grace / 2
        return self._since is not None and now - self._since >= self._grace and not behind


class Retention:
    """Removes the jobs that have had no event for the longest time.

    Args:
        database: the database.
        writer: what else writes to it, on the same thread.
        figures: counters.
        seconds: seconds for which a job is kept after its newest event.
        most: maximum bytes of text of all jobs.
        silence: seconds without an event after which a task that runs counts as lost.
        attention: whether the archive has listened for long enough.
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
        attention: Attention,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database, self._writer, self._figures = database, writer, figures
        self._seconds, self._most, self._clock = seconds, most, clock
        self._silence, self._attention = silence, attention
        self._next = 0.0

    def look(self) -> None:
        """Remove some jobs, if it is time to; called often."""
        self._attention.look()
        now = time.monotonic()
        if now >= self._next and not (self.remove_some() or self.lose_some()):
            self._next = now + INTERVAL

    def lose_some(self) -> bool:
        """End jobs whose workers have died; return whether there may be more of them.

        A task that runs sends an event every few seconds. What a server concludes from its silence
        reaches only that server's clients, so the archive concludes it too: long after servers,
        and only when it has read all that was published, and has listened for a while since then.
        """
        if not self._attention.lasts():
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
