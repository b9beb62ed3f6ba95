"""``Estimates``: jobs that wait are told their place in the queue, and when they may end."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from typing import Any

from bridge.protocol.event import Event
from socket_server.concurrency.state_lock import StateLock
from socket_server.estimates.durations import Durations
from socket_server.estimates.queue_depth import QueueDepth, QueueDepths, WaitingJobs
from socket_server.journal.journal import Journal

__all__ = ["Estimates"]

#: Jobs of one queue, those before the others, that are told their place at a time.
MAX_TOLD = 200
#: Queues of which the length is a figure, when jobs wait in others.
MAX_QUEUES = 100
#: Seconds by which an estimate of the end must have moved to be worth telling.
STEP = 5.0


class Estimates:
    """Tells those who wait how long they may have to.

    Args:
        tell: takes each estimate, as :meth:`.Dispatcher.tell` does.
        journal: what the server knows.
        is_watched: whether a client of this server watches a job, by its id and owner.
        lines: which jobs wait in which queue.
        history: how long jobs took.
        gauge: asks the broker about its queues.
        state_lock: which others have while the broker is asked.
    """

    def __init__(
        self,
        tell: Callable[[Event], None],
        journal: Journal,
        is_watched: Callable[[str, str | None], bool],
        lines: WaitingJobs,
        history: Durations,
        gauge: QueueDepths,
        state_lock: StateLock,
    ) -> None:
        self._send, self._journal, self._is_watched = tell, journal, is_watched
        self._lines, self._history, self._gauge = lines, history, gauge
        self._state_lock = state_lock
        #: Messages in each queue in which jobs waited of late.
        self.levels: dict[str, int] = {}

    def tell(self) -> None:
        """Tell each job that waits, and is watched, its place, if that has changed."""
        if not self._lines:
            self.levels = dict.fromkeys(self.levels, 0)
            return
        read = self._state_lock.outside(self._gauge.read, self._lines.queues())
        levels = {queue: level for queue, level in read.items() if level is not None}
        self._lines.looked(read, levels)
        # A queue that was seen stays a figure, and does not vanish with the last job in it.
        known = list(self.levels.items())[-MAX_QUEUES:]
        before = {queue: ready if self._waits(queue, read) else 0 for queue, ready in known}
        self.levels = {**before, **{queue: level.ready for queue, level in levels.items()}}
        for queue, level in levels.items():
            ahead = self._lines.ahead(queue, level.ready)
            for job in self._lines.waiting(queue)[:MAX_TOLD]:
                self._tell(job, queue, level, ahead.get(job))

    def _waits(self, queue: str, read: Container[str]) -> bool:
        """Whether jobs wait in a queue that it was not the turn of."""
        return queue not in read and self._lines.has(queue)

    def _tell(self, job: str, queue: str, level: QueueDepth, ahead: int | None) -> None:
        if job not in self._journal:
            self._lines.leave(job)
            return
        snapshot, now = self._journal.of(job), time.time()
        if not self._is_watched(job, snapshot.owner):
            return
        place = {"name": queue, "ahead": ahead, "workers": level.workers}
        eta = self._history.expect(snapshot, now)
        before = snapshot.estimate
        if place != before.get("queue") or _moved(before.get("eta"), eta):
            self._send(snapshot.expectation(now, queue=place, eta=eta))


def _moved(before: dict[str, Any] | None, now: dict[str, Any] | None) -> bool:
    if before is None or now is None:
        return before is not now
    return any(abs(before[name] - now[name]) >= STEP for name in ("earliest", "latest"))
