"""``Estimates``: sends clients the places of waiting jobs in their queues, and expected ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Container

from bridge.protocol.event import Event
from bridge.protocol.json_types import Expectation, QueuePlace
from socket_server.concurrency.state_lock import StateLock
from socket_server.estimates.durations import Durations
from socket_server.estimates.queue_depth import QueueDepth, QueueDepths, WaitingJobs
from socket_server.journal.journal import Journal

__all__ = ["Estimates"]

#: Maximum jobs of one queue, the first ones in it, that get an estimate in a round.
MAX_TOLD = 200
#: Maximum queues that stay in ``Estimates.levels`` when they were not read in a round.
MAX_QUEUES = 100
#: Minimum seconds by which an expected end must have changed to be sent again.
STEP = 5.0


class Estimates:
    """Sends ``estimate`` events of jobs that wait in a queue and are watched.

    Args:
        tell: called with each event; see :meth:`.Dispatcher.tell`.
        journal: the jobs that the server holds.
        is_watched: returns whether a client of this server watches a job, by its id and owner.
        lines: the waiting jobs of each queue.
        history: durations of earlier jobs.
        gauge: reads the lengths of queues from the broker.
        state_lock: the state lock, released while the broker is asked.
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
        #: Number of messages in each queue in which jobs wait, or waited lately.
        self.levels: dict[str, int] = {}

    def tell(self) -> None:
        """Read the queues and send the estimates that have changed."""
        if not self._lines:
            self.levels = dict.fromkeys(self.levels, 0)
            return
        read = self._state_lock.outside(self._gauge.read, self._lines.queues())
        levels = {queue: level for queue, level in read.items() if level is not None}
        self._lines.looked(read, levels)
        if empty := self._gauge.empty:
            levels = {queue: level or empty for queue, level in read.items()}
        # Queues without waiting jobs stay, at 0, so that their metrics do not vanish.
        known = list(self.levels.items())[-MAX_QUEUES:]
        before = {queue: ready if self._waits(queue, read) else 0 for queue, ready in known}
        self.levels = {**before, **{queue: level.ready for queue, level in levels.items()}}
        for queue, level in levels.items():
            ahead = self._lines.ahead(queue, level.ready)
            for job in self._lines.waiting(queue)[:MAX_TOLD]:
                self._tell(job, queue, level, ahead.get(job))

    def _waits(self, queue: str, read: Container[str]) -> bool:
        """Whether jobs wait in a queue that was not read in this round."""
        return queue not in read and self._lines.has(queue)

    def _tell(self, job: str, queue: str, level: QueueDepth, ahead: int | None) -> None:
        if job not in self._journal:
            self._lines.leave(job)
            return
        snapshot, now = self._journal.of(job), time.time()
        if not self._is_watched(job, snapshot.owner):
            return
        place: QueuePlace = {"name": queue, "ahead": ahead, "workers": level.workers}
        eta = self._history.expect(snapshot, now)
        before = snapshot.estimate
        last = before.get("queue")
        if level.ready == 0 and last is not None and last["ahead"] == 0:
            place["taken"] = True  # its message was gone in the last round, too
        if place != before.get("queue") or _moved(before.get("eta"), eta):
            self._send(snapshot.expectation(now, queue=place, eta=eta))


def _moved(before: Expectation | None, now: Expectation | None) -> bool:
    if before is None or now is None:
        return before is not now
    moved = before["earliest"] - now["earliest"], before["latest"] - now["latest"]
    return any(abs(seconds) >= STEP for seconds in moved)
