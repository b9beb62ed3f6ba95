"""``Disturbances``: clients are told while nothing comes through from the workers of a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from bridge.protocol.event import Event
from socket_server.journal.journal import Journal
from socket_server.liveness.watchdog import Watchdog

__all__ = ["Disturbances"]

logger = logging.getLogger(__name__)

#: Jobs that are told at a time before others have their turn.
JOBS_AT_ONCE = 50
NOTHING_COMES = (
    "what workers publish does not come through: the broker is away, or blocks publishers"
)
OUT_OF_TOUCH = "its worker is there, but nothing that it publishes comes through"


class Disturbances:
    """Tells clients of running jobs that the way to the workers is disturbed, and when it is over.

    Args:
        tell: takes each event, as :meth:`.Dispatcher.tell` does.
        journal: what the server knows.
        watchdog: which jobs run.
        sio: starts background tasks and sleeps.
    """

    def __init__(
        self, tell: Callable[[Event], None], journal: Journal, watchdog: Watchdog, sio: Any
    ) -> None:
        self._send, self._journal, self._watchdog, self._sio = tell, journal, watchdog, sio
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
                self._sio.state_lock.outside(self._sio.sleep, 0)
            if self._is_general != disturbed:
                return  # it has changed meanwhile, and another round tells of that
            self._tell(job)

    def note(self, job: str, task: str) -> None:
        """Note that a task runs and is not heard."""
        self._out_of_touch.setdefault(job, set()).add(task)
        self._tell(job)

    def heard(self, job: str, task: str) -> Iterable[Event]:
        """Note that a task was heard, or is over; return the event that tells clients so."""
        if (tasks := self._out_of_touch.get(job)) is None or task not in tasks:
            return ()
        tasks.remove(task)
        if not tasks:
            del self._out_of_touch[job]
        event = self._event(job)
        return () if event is None else (event,)

    def over(self, job: str, task: str) -> None:
        """Note that a task was found to be over, and tell clients if nothing else is disturbed."""
        for event in self.heard(job, task):
            self._send(event)

    def forget(self, job: str) -> None:
        """Forget a job."""
        self._out_of_touch.pop(job, None)
        self._told.discard(job)

    def _tell(self, job: str) -> None:
        if (event := self._event(job)) is not None:
            self._send(event)

    def _event(self, job: str) -> Event | None:
        """Return what is new to the clients of a job about the way to its workers."""
        if job not in self._journal:
            return None
        reason = NOTHING_COMES if self._is_general else OUT_OF_TOUCH
        disturbed = self._is_general or job in self._out_of_touch
        (self._told.add if disturbed else self._told.discard)(job)
        return self._journal.of(job).disturbance(time.time(), reason if disturbed else None)
