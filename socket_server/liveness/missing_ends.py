"""``MissingEnds``: looks up the results of tasks whose ends did not come over the bus."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

from bridge.protocol.event import Event, EventType
from bridge.protocol.snapshot import Snapshot
from bridge.untyped import SocketIOServer
from socket_server.journal.change import Change
from socket_server.journal.journal import Journal
from socket_server.liveness.verdicts import Verdicts

__all__ = ["MissingEnds"]

#: Seconds from a report of dropped ends to each look-up: at first, ends that were not dropped may
#: still be on their way.
DELAYS = (5.0, 30.0, 120.0, 600.0)
#: Seconds between two rounds over jobs with dropped ends, of which only counts are known.
QUIET = 15.0
#: Maximum silent jobs that are looked up per second, and waiting tasks of each, chosen at random.
JOBS, TASKS = 5, 4


class MissingEnds:
    """Looks up tasks that seem to wait, and all open tasks after an emitter has dropped ends.

    A worker that dies takes its unpublished events with it. If those were all events of a task, the
    task seems to wait, or is known only as one that follows another in a canvas. So jobs with such
    tasks and without events for a long time are looked up repeatedly, a few jobs per second.

    An emitter whose outbox was full does not know the tasks whose ends it dropped, only how many
    of each type in each job. Tasks that the server knows are looked up in the result backend. For
    tasks without any event, ends are created from the numbers, once the job's counts stay the same.

    Args:
        journal: the jobs that the server holds.
        verdicts: asks the result backend, and sends verdicts.
        notices: returns how often emitters reported dropped ends.
        sio: starts background tasks, sleeps, and has the state lock.
        silent_after: seconds without an event after which a job with waiting tasks is looked up.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        verdicts: Verdicts,
        notices: Callable[[], int],
        sio: SocketIOServer,
        silent_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._verdicts, self._notices = journal, verdicts, notices
        self._sio, self._clock = sio, clock
        self._seen = 0
        self._due: list[float] = []
        self._running = False
        #: Number of dropped ends of each job, by type of end.
        self._unreported: dict[str, Counter[EventType]] = {}
        #: ``done`` and ``total`` of each of these jobs in the last round, which was at ``_looked``.
        self._known: dict[str, tuple[int, int]] = {}
        self._looked = 0.0
        self._silent_after = silent_after
        #: Silent jobs still to be looked up in this round, and when the next round is due.
        self._round: deque[str] = deque()
        self._next_round = clock() + silent_after

    def __call__(self, change: Change) -> Iterable[Event]:
        """Add the numbers of dropped ends that an event reports; return no events."""
        if ends := change.event.notes.get("unreported"):
            self._unreported.setdefault(change.event.job, Counter()).update(ends)
        return ()

    def look(self) -> None:
        """Start a round of look-ups if one is due; called every second."""
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
        """Look up the known unfinished tasks of a job."""
        with self._sio.state_lock:
            tasks = [task.task for task in snapshot.open_tasks()]
        for task in tasks:
            self._verdicts.settle(snapshot.job, task)
            self._sio.sleep(0)

    def _settle_silent(self) -> None:
        """Look up some waiting tasks of some jobs without recent events."""
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
        """Create a job's missing ends if its counts stay the same and only dropped ends miss."""
        known = snapshot.done, snapshot.total
        quiet = self._known.get(job) == known
        self._known[job] = known
        missing = snapshot.total - snapshot.done
        ends = self._unreported[job]
        if not quiet or snapshot.open_tasks() or missing > ends.total():
            return
        # Unsuccessful ends first: the job's state depends on them.
        states = sorted(ends.elements(), key=lambda state: state == "succeeded")
        for number, state in enumerate(states[:missing]):
            self._verdicts.fill(job, number, state)
            self._sio.sleep(0)
