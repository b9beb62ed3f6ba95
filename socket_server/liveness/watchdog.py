"""The watchdog: which running tasks have been silent for too long. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Silence", "Watchdog"]


#: Seconds between two looks that count at most. Looks come every second: in a longer gap the server
#: itself stood still (SIGSTOP, a suspended machine, a collection of garbage) and heard nobody.
MAX_GAP = 3.0
#: Seconds after which a worker that has taken it in time would have told of it, and by which
#: clocks of two machines may differ.
EXPIRY_GRACE = 2.0


class Silence(NamedTuple):
    """A running task of which nothing was heard for too long."""

    job: str
    task: str
    #: Seconds.
    silent: float
    #: Whether it is time to call it lost.
    lost: bool
    #: Node name of its worker; None if it is not known.
    node: str | None = None


class Watchdog:
    """Keeps the time since the last word of each running task.

    Only time in which the server could have heard something counts: while its broker is away or
    blocks publishers, or the server stands still itself, every job is silent.

    Args:
        stalled_after: seconds of silence after which a task is called stalled.
        lost_after: seconds of silence after which it is called lost.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        stalled_after: float,
        lost_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = (stalled_after, lost_after)
        self._clock = clock
        self._looked = clock()
        #: Seconds, since the beginning, in which something could have been heard.
        self._now = 0.0
        # In the order in which they were last heard, so that those silent longest come first.
        self._heard: dict[tuple[str, str], float] = {}
        #: Seconds since the epoch at which a task that waits expires.
        self._expiring: dict[tuple[str, str], float] = {}
        #: Limits that a silent task has passed.
        self._passed: dict[tuple[str, str], int] = {}
        #: Node name of the worker of a running task, where its events say it.
        self._nodes: dict[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def heard(self, job: str, task: str, age: float = 0.0, node: str | None = None) -> None:
        """Note that something came from a running task.

        Args:
            job: its job.
            task: its id.
            age: seconds ago by the clock of its host; more than none only for what is replayed.
                That clock may be hours off, so a task is not lost before this server has
                listened for ``stalled_after`` itself, in which a task that runs is heard.
            node: name of its worker; empty if it is not known any more, None if nothing is said.
        """
        known = self._nodes.get((job, task)) if node is None else node
        self.over(job, task)
        stalled_after, lost_after = self._limits
        self._heard[job, task] = self._now - max(0.0, min(age, lost_after - stalled_after))
        if known:
            self._nodes[job, task] = known

    def node(self, job: str, task: str) -> str | None:
        """Return the node name of a running task's worker; None if it is not known."""
        return self._nodes.get((job, task))

    def jobs(self) -> list[str]:
        """Return the jobs of which a task runs."""
        return list(dict.fromkeys(job for job, _ in self._heard))

    def refresh(self) -> None:
        """Begin the silence of each running task again: nothing could be heard for a while."""
        self._heard = dict.fromkeys(self._heard, self._now)

    def vouch(self, job: str, task: str, node: str | None) -> None:
        """Note that a task which was called lost is not: it is asked about again after a while.

        Args:
            job: its job.
            task: its id.
            node: name of its worker; None if it is not known.
        """
        if (job, task) in self._heard:
            return  # something came from it meanwhile
        stalled_after, lost_after = self._limits
        self._heard[job, task] = self._now - (lost_after - stalled_after)
        self._passed[job, task] = 1
        if node:
            self._nodes[job, task] = node

    def over(self, job: str, task: str) -> None:
        """Note that a task does not run, or not any more."""
        self._heard.pop((job, task), None)
        self._passed.pop((job, task), None)
        self._nodes.pop((job, task), None)
        self._expiring.pop((job, task), None)

    def expires(self, job: str, task: str, at: float) -> None:
        """Note that a task waits, and that nobody will run it after a time.

        Args:
            job: its job.
            task: its id.
            at: seconds since the epoch.
        """
        self._expiring[job, task] = at

    def expired(self, now: float) -> list[tuple[str, str]]:
        """Return the jobs and ids of tasks that have expired since the last time.

        Args:
            now: seconds since the epoch.
        """
        due = [key for key, at in self._expiring.items() if now >= at + EXPIRY_GRACE]
        for key in due:
            del self._expiring[key]
        return due

    def look(self, *, listening: bool) -> list[Silence]:
        """Return the tasks that have passed a limit since the last time.

        Args:
            listening: whether the server could hear something since then. While it could not, no
                limit is passed, however long ago a task was heard.
        """
        now, before = self._clock(), self._looked
        self._looked = now
        if not listening:
            return []
        self._now += min(now - before, MAX_GAP)
        due = [key for key in self._heard if self._due(key)]
        return [self._pass(key) for key in due]

    def _due(self, key: tuple[str, str]) -> bool:
        return self._now - self._heard[key] >= self._limits[self._passed.get(key, 0)]

    def _pass(self, key: tuple[str, str]) -> Silence:
        silent, node = self._now - self._heard[key], self._nodes.get(key)
        lost = silent >= self._limits[-1]
        if lost:
            self.over(*key)
        else:
            self._passed[key] = 1
        return Silence(*key, silent, lost, node)
