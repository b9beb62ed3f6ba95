"""An audit: finding out how tasks ended whose ends did not come over the bus."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from bridge.protocol.event import Event, EventType
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.change import Change
from socket_server.journal.journal import Journal
from socket_server.liveness.verdicts import Verdicts

__all__ = ["Audit"]

#: Seconds after a notice of dropped ends at which the result backend is asked: at first, what was
#: not dropped may still be on its way.
DELAYS = (5.0, 30.0, 120.0, 600.0)
#: Seconds between two looks at jobs with ends that no task's id is known of.
QUIET = 15.0
#: Silent jobs that are looked up a second, and tasks of each that wait: of a large group, any.
JOBS, TASKS = 5, 4


class Audit:
    """Looks up tasks that seem to wait, and all open ones once an emitter has dropped ends.

    A worker that dies takes with it what it could not publish before. If that was all that it had
    to tell about a task, the task seems to wait, or is not known but as one that follows another in
    a canvas. So each job with such tasks that is silent for long is looked up again and again, a
    few jobs a second.

    An emitter whose outbox was full does not know of which tasks it has dropped the ends, only how
    many of each job, and how they ended. Tasks that the server knows are looked up in the result
    backend. Of tasks that it never heard of, the counts are taken, once the job has been quiet.

    Args:
        journal: what the server knows.
        verdicts: asks the result backend, and tells the clients.
        notices: returns how often emitters told that ends were dropped.
        sio: starts background tasks and lets others go on.
        silent_after: seconds of silence after which a job with tasks that wait is looked up.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        journal: Journal,
        verdicts: Verdicts,
        notices: Callable[[], int],
        sio: Any,
        silent_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._verdicts, self._notices = journal, verdicts, notices
        self._sio, self._clock = sio, clock
        self._seen = 0
        self._due: list[float] = []
        self._running = False
        #: Ends of tasks of each job without the tasks' ids, by how they ended.
        self._unreported: dict[str, Counter[EventType]] = {}
        #: What was known of each of these jobs at the last look, which was at ``_looked``.
        self._known: dict[str, tuple[int, int]] = {}
        self._looked = 0.0
        self._silent_after = silent_after
        #: Silent jobs that are still to be looked up in this round, and when the next one is due.
        self._round: deque[str] = deque()
        self._next_round = clock() + silent_after

    def __call__(self, change: Change) -> Iterable[Event]:
        """Take in how many ends of a job's tasks were dropped, by how they ended."""
        if ends := change.event.notes.get("unreported"):
            self._unreported.setdefault(change.event.job, Counter()).update(ends)
        return ()

    def look(self) -> None:
        """Begin an audit if one is due; called every second."""
        now = self._clock()
        if (notices := self._notices()) > self._seen:
            self._seen = notices
            self._due = [now + delay for delay in DELAYS]
        if self._running:
            return
        if self._due and now >= self._due[0]:
            self._due.pop(0)
            self._begin(self._settle_all)
        elif self._unreported and now >= self._looked + QUIET:
            self._looked = now
            self._begin(self._settle_unreported)
        elif self._round or now >= self._next_round:
            self._begin(self._settle_silent)

    def _begin(self, work: Callable[[], None]) -> None:
        self._running = True
        self._sio.start_background_task(self._run, work)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._running = False

    def _settle_all(self) -> None:
        with self._sio.state_lock:
            snapshots = [one for one in self._journal.snapshots() if not one.ended]
        for snapshot in snapshots:
            self._settle(snapshot)

    def _settle(self, snapshot: Snapshot) -> None:
        """Look up the tasks of a job that have not ended, as far as they are known."""
        with self._sio.state_lock:
            tasks = [task.task for task in snapshot.open_tasks()]
        for task in tasks:
            self._verdicts.settle(snapshot.job, task)
            self._sio.sleep(0)

    def _settle_silent(self) -> None:
        """Look up some tasks that seem to wait, of some jobs that are silent."""
        if not self._round:
            with self._sio.state_lock:
                self._round.extend(self._journal.silent(self._silent_after))
            self._next_round = self._clock() + self._silent_after
        for _ in range(min(JOBS, len(self._round))):
            job = self._round.popleft()
            with self._sio.state_lock:
                known = self._journal.of(job).waiting() if job in self._journal else []
                waiting = [*(task.task for task in known), *self._journal.unheard(job)]
            for task in random.sample(waiting, min(TASKS, len(waiting))):
                if not self._verdicts.settle(job, task):
                    self._round.clear()  # the result backend does not answer
                    return
                self._sio.sleep(0)

    def _settle_unreported(self) -> None:
        for job in list(self._unreported):
            if job not in self._journal:
                del self._unreported[job]
                self._known.pop(job, None)
                continue
            snapshot = self._journal.of(job)
            if not snapshot.ended:
                self._settle(snapshot)
                self._fill(job, snapshot)

    def _fill(self, job: str, snapshot: Snapshot) -> None:
        """End a quiet job of which nothing but dropped ends is missing."""
        known = snapshot.done, snapshot.total
        quiet = self._known.get(job) == known
        self._known[job] = known
        missing = snapshot.total - snapshot.done
        ends = self._unreported[job]
        if not quiet or snapshot.open_tasks() or missing > ends.total():
            return
        # Those that did not succeed first: the job's state depends on them.
        states = sorted(ends.elements(), key=lambda state: state == "succeeded")
        for number, state in enumerate(states[:missing]):
            self._verdicts.fill(job, number, state)
            self._sio.sleep(0)
