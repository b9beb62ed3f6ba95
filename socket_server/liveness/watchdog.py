"""``Watchdog``: finds running tasks without an event for too long. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["Silence", "Watchdog"]


#: Maximum seconds between two looks that count. Looks come every second: in a longer gap the server
#: itself stood still (SIGSTOP, a suspended machine, a garbage collection) and received nothing.
MAX_GAP = 3.0
#: Seconds to wait after the expiry of a task: an event of a worker that took the task in time may
#: still arrive, and clocks of two machines may differ.
EXPIRY_GRACE = 2.0


class Silence(NamedTuple):
    """A running task from which no event came for too long."""

    job: str
    task: str
    #: Seconds since its last event.
    silent: float
    #: Whether it is silent for long enough to be lost; else it is stalled.
    lost: bool
    #: Node name of its worker; None if unknown.
    node: str | None = None


class Watchdog:
    """Tracks the time since the last event of each running task.

    Only time in which the server could have received events counts: while its broker is away or
    blocks publishers, or the server itself stands still, all tasks are silent.

    Args:
        stalled_after: seconds without an event after which a task is stalled.
        lost_after: seconds without an event after which a task is lost.
        clock: monotonic clock, in seconds.
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
        #: Seconds, since the start, in which events could have been received.
        self._now = 0.0
        #: Time by ``_now`` of the last event of each running task.
        self._heard: dict[tuple[str, str], float] = {}
        #: Seconds since the epoch at which a waiting task expires.
        self._expiring: dict[tuple[str, str], float] = {}
        #: Number of limits that a silent task has passed.
        self._passed: dict[tuple[str, str], int] = {}
        #: Node name of the worker of a running task, if its events carry it.
        self._nodes: dict[tuple[str, str], str] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def heard(self, job: str, task: str, age: float = 0.0, node: str | None = None) -> None:
        """Note an event of a running task.

        Args:
            job: id of the job.
            task: id of the task.
            age: seconds since the event by the clock of its host; 0 unless it is replayed. That
                clock may be hours off, so a task is not lost before this server has listened for
                ``stalled_after`` seconds itself, in which a running task sends events.
            node: node name of its worker; empty if it is unknown from now on, None for no change.
        """
        key, (stalled_after, lost_after) = (job, task), self._limits
        self._heard[key] = self._now - max(0.0, min(age, lost_after - stalled_after))
        self._passed.pop(key, None)
        self._expiring.pop(key, None)
        if node:
            self._nodes[key] = node
        elif node is not None:
            self._nodes.pop(key, None)

    def node(self, job: str, task: str) -> str | None:
        """Return the node name of a running task's worker; None if unknown."""
        return self._nodes.get((job, task))

    def jobs(self) -> list[str]:
        """Return the ids of jobs with a running task."""
        return list(dict.fromkeys(job for job, _ in self._heard))

    def refresh(self) -> None:
        """Restart the time of each running task, after no events could be received for a while."""
        self._heard = dict.fromkeys(self._heard, self._now)

    def vouch(self, job: str, task: str, node: str | None) -> None:
        """Watch a task again that ``look`` returned as lost, but that is not lost.

        It is returned again after ``stalled_after`` more seconds without an event.

        Args:
            job: id of the job.
            task: id of the task.
            node: node name of its worker; None if unknown.
        """
        if self.watches(job, task):
            return  # an event of it has arrived meanwhile
        stalled_after, lost_after = self._limits
        self._heard[job, task] = self._now - (lost_after - stalled_after)
        self._passed[job, task] = 1
        if node:
            self._nodes[job, task] = node

    def watches(self, job: str, task: str) -> bool:
        """Return whether a task is watched: one that ``look`` returned as lost is not."""
        return (job, task) in self._heard

    def over(self, job: str, task: str) -> None:
        """Stop watching a task."""
        self._heard.pop((job, task), None)
        self._passed.pop((job, task), None)
        self._nodes.pop((job, task), None)
        self._expiring.pop((job, task), None)

    def expires(self, job: str, task: str, at: float) -> None:
        """Note that a waiting task expires.

        Args:
            job: id of the job.
            task: id of the task.
            at: seconds since the epoch.
        """
        self._expiring[job, task] = at

    def expired(self, now: float) -> list[tuple[str, str]]:
        """Return job and task ids of tasks that have expired since the last call.

        Args:
            now: seconds since the epoch.
        """
        due = [key for key, at in self._expiring.items() if now >= at + EXPIRY_GRACE]
        for key in due:
            del self._expiring[key]
        return due

    def look(self, *, listening: bool) -> list[Silence]:
        """Return the tasks that have passed a limit since the last call.

        Args:
            listening: whether the server could receive events since then; if not, the time does
                not count.
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
