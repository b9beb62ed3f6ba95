"""``Presumptions``: compares ends that a server has presumed with stored results."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterable

from bridge.protocol.event import Event
from bridge.untyped import SocketIOServer
from socket_server.journal.change import Change
from socket_server.journal.journal import Journal
from socket_server.liveness.verdicts import Verdicts

__all__ = ["Presumptions"]

#: Seconds: from the presumed end of a job's task to the first look-up of its stored result, then
#: between look-ups. Each is longer than the one before, since a worker that was cut off for moments
#: stores the end soon, and one whose network failed, or that has yet to receive a cancelled task,
#: much later. The last look-up is 36 minutes after the presumed end, so that a job whose worker
#: died does not cost reads of the result backend for ever.
DELAYS = (15.0, 60.0, 300.0, 1800.0)
#: Maximum jobs that are looked up per second, and tasks of each, chosen at random.
JOBS, TASKS = 5, 4


class Presumptions:
    """Looks up the results of tasks with a verdict ``lost`` or ``cancelled``.

    A worker may run such a task to its end and die before it could send a single event of it. Later
    events of the task would overturn the verdict; without them its stored result does.

    Args:
        journal: the jobs that the server holds.
        verdicts: asks the result backend, and sends verdicts.
        sio: starts background tasks, sleeps, and has the state lock.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        verdicts: Verdicts,
        sio: SocketIOServer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._verdicts, self._sio, self._clock = journal, verdicts, sio, clock
        #: Jobs by the number of their look-ups so far, each with the time of the next one.
        self._due: list[deque[tuple[float, str]]] = [deque() for _ in DELAYS]
        self._jobs: set[str] = set()
        self._running = False

    def __call__(self, change: Change) -> Iterable[Event]:
        """Note the job of a presumed end; return no events."""
        event = change.event
        if event.verdict and event.type in ("lost", "cancelled") and event.job not in self._jobs:
            self._jobs.add(event.job)
            self._due[0].append((self._clock() + DELAYS[0], event.job))
        return ()

    def look(self) -> None:
        """Start looking up some jobs if any is due; called every second."""
        now = self._clock()
        if not self._running and any(queue and queue[0][0] <= now for queue in self._due):
            self._running = True
            self._sio.start_background_task(self._run)

    def _run(self) -> None:
        try:
            now, left = self._clock(), JOBS
            for number, queue in enumerate(self._due):
                while queue and queue[0][0] <= now and left:
                    left -= 1
                    self._look_up(queue.popleft()[1], number)
        finally:
            self._running = False

    def _look_up(self, job: str, number: int) -> None:
        tasks = self._presumed(job)
        for task in random.sample(tasks, min(TASKS, len(tasks))):
            self._verdicts.settle(job, task)
            self._sio.sleep(0)
        if self._presumed(job) and number + 1 < len(DELAYS):
            self._due[number + 1].append((self._clock() + DELAYS[number + 1], job))
        else:
            self._jobs.discard(job)

    def _presumed(self, job: str) -> list[str]:
        with self._sio.state_lock:
            if job not in self._journal:
                return []
            return [task.task for task in self._journal.of(job).presumed_tasks()]
