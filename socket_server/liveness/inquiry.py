"""What is done before a silent task is called lost: its worker is asked another way."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

from socket_server.delivery.dispatcher import Delivery
from socket_server.journal.journal import Journal
from socket_server.liveness.path import Path
from socket_server.liveness.verdicts import Verdicts
from socket_server.liveness.watchdog import Silence, Watchdog
from socket_server.liveness.worker_inspection import MAX_TASKS, Workers

__all__ = ["Disturbances", "Inquiry"]

logger = logging.getLogger(__name__)

#: Seconds between two questions to workers.
PAUSE = 1.0
#: Jobs that are told at a time before others have their turn.
JOBS_AT_ONCE = 50
NOTHING_COMES = (
    "what workers publish does not come through: the broker is away, or blocks publishers"
)
OUT_OF_TOUCH = "its worker is there, but nothing that it publishes comes through"


class Disturbances:
    """Tells clients of running jobs that the way to the workers is disturbed, and when it is over.

    Args:
        delivery: tells the clients.
        journal: what the server knows.
        watchdog: which jobs run.
        sio: starts background tasks and sleeps.
    """

    def __init__(self, delivery: Delivery, journal: Journal, watchdog: Watchdog, sio: Any) -> None:
        self._delivery, self._journal, self._watchdog, self._sio = delivery, journal, watchdog, sio
        #: Whether nothing comes from any worker.
        self._is_general = False
        #: Tasks that run, as their workers say, and from which nothing comes; by job.
        self._out_of_touch: dict[str, set[str]] = {}
        #: Jobs whose clients were told, and not yet that it is over.
        self._told: set[str] = set()

    def __len__(self) -> int:
        """Return how many tasks run, as far as anybody knows, and are not heard."""
        return sum(map(len, self._out_of_touch.values()))

    def tell_all(self, *, disturbed: bool) -> None:
        """Tell the clients of all jobs that run.

        Args:
            disturbed: whether nothing comes from any worker, or it does again.
        """
        self._is_general = disturbed
        logger.warning("taskbridge: %s", NOTHING_COMES if disturbed else "workers are heard again")
        for number, job in enumerate({*self._watchdog.jobs(), *self._told}):
            if number % JOBS_AT_ONCE == 0:
                self._sio.turn.outside(self._sio.sleep, 0)
            if self._is_general != disturbed:
                return  # it has changed meanwhile, and another round tells of that
            self._tell(job)

    def note(self, job: str, task: str) -> None:
        """Note that a task runs and is not heard."""
        self._out_of_touch.setdefault(job, set()).add(task)
        self._tell(job)

    def heard(self, job: str, task: str) -> None:
        """Note that a task was heard, or is over."""
        if (tasks := self._out_of_touch.get(job)) is None or task not in tasks:
            return
        tasks.remove(task)
        if not tasks:
            del self._out_of_touch[job]
        self._tell(job)

    def forget(self, job: str) -> None:
        """Forget a job."""
        self._out_of_touch.pop(job, None)
        self._told.discard(job)

    def _tell(self, job: str) -> None:
        if job not in self._journal:
            return
        reason = NOTHING_COMES if self._is_general else OUT_OF_TOUCH
        disturbed = self._is_general or job in self._out_of_touch
        (self._told.add if disturbed else self._told.discard)(job)
        event = self._journal.of(job).disturbance(time.time(), reason if disturbed else None)
        if event is not None:
            self._delivery.tell(event)


class Inquiry:
    """Asks workers about tasks that it is time to call lost, many at a time, one question after
    the other.

    Args:
        workers: are asked.
        verdicts: says what became of a task.
        watchdog: is told which tasks are not lost.
        disturbances: is told of tasks that run and are not heard.
        path: whether workers can be heard at all.
        sio: starts background tasks and sleeps.
    """

    def __init__(
        self,
        workers: Workers,
        verdicts: Verdicts,
        watchdog: Watchdog,
        disturbances: Disturbances,
        path: Path,
        sio: Any,
    ) -> None:
        self._workers, self._verdicts, self._watchdog = workers, verdicts, watchdog
        self._disturbances, self._path, self._sio = disturbances, path, sio
        self._waiting: dict[tuple[str, str], Silence] = {}
        self._is_asking = False

    def add(self, silences: Iterable[Silence]) -> None:
        """Ask about tasks; return at once."""
        self._waiting.update({(one.job, one.task): one for one in silences})
        if self._waiting and not self._is_asking:
            self._is_asking = True
            self._sio.start_background_task(self._ask_all)

    def _ask_all(self) -> None:
        with self._sio.turn:
            try:
                while self._waiting:
                    self._ask_some()
                    self._sio.turn.outside(self._sio.sleep, PAUSE)
            finally:
                self._is_asking = False

    def _ask_some(self) -> None:
        keys = list(self._waiting)[:MAX_TASKS]
        batch = [self._waiting.pop(key) for key in keys]
        nodes = {one.task: one.node for one in batch}
        there = self._sio.turn.outside(self._workers.ask, nodes)
        for silence in batch:
            self._sio.start_background_task(self._conclude, silence, there[silence.task])

    def _conclude(self, silence: Silence, there: bool | None) -> None:
        """Say what became of a task; see ``Workers.ask``."""
        # What is stored is looked up after the worker was asked: a task may end in between.
        lost = there is False and self._path.is_open
        is_over = self._verdicts.judge(silence._replace(lost=lost)) or lost
        with self._sio.turn:
            if is_over:
                self._disturbances.heard(silence.job, silence.task)
                return
            self._watchdog.vouch(silence.job, silence.task, silence.node)
            if self._path.is_open:
                self._disturbances.note(silence.job, silence.task)
