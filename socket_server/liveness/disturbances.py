"""``Disturbances``: notifies clients while no events arrive from the workers of a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

from bridge.protocol.event import Event
from bridge.untyped import SocketIOServer
from socket_server.journal.journal import Journal
from socket_server.liveness.watchdog import Watchdog

__all__ = ["Disturbances"]

logger = logging.getLogger(__name__)

#: Jobs whose clients are notified between two pauses in which other greenlets or threads run.
JOBS_AT_ONCE = 50
NOTHING_COMES = (
    "what workers publish does not come through: the broker is away, or blocks publishers"
)
OUT_OF_TOUCH = "its worker is there, but nothing that it publishes comes through"


class Disturbances:
    """Sends ``disturbed`` events of running jobs when events stop and when they arrive again.

    Args:
        tell: called with each event; see :meth:`.Dispatcher.tell`.
        journal: the jobs that the server holds.
        watchdog: knows the running jobs.
        sio: sleeps, and has the state lock.
    """

    def __init__(
        self,
        tell: Callable[[Event], None],
        journal: Journal,
        watchdog: Watchdog,
        sio: SocketIOServer,
    ) -> None:
        self._send, self._journal, self._watchdog, self._sio = tell, journal, watchdog, sio
        #: Whether no events arrive from any worker.
        self._is_general = False
        #: Tasks of each job that their workers report as running, but from which no events arrive.
        self._out_of_touch: dict[str, set[str]] = {}
        #: Jobs whose latest ``disturbed`` event reports a disturbance.
        self._told: set[str] = set()

    def __len__(self) -> int:
        """Return the number of tasks that run, but from which no events arrive."""
        return sum(map(len, self._out_of_touch.values()))

    def tell_all(self, *, disturbed: bool) -> None:
        """Notify the clients of all running jobs.

        Args:
            disturbed: True if no events arrive from any worker, False if they do again.
        """
        self._is_general = disturbed
        logger.warning("taskbridge: %s", NOTHING_COMES if disturbed else "workers are heard again")
        for number, job in enumerate({*self._watchdog.jobs(), *self._told}):
            if number % JOBS_AT_ONCE == 0:
                self._sio.state_lock.outside(self._sio.sleep, 0)
            if self._is_general != disturbed:
                return  # changed during the pause: another call reports that
            self._tell(job)

    def note(self, job: str, task: str) -> None:
        """Note that a task runs but no events of it arrive, and notify clients."""
        self._out_of_touch.setdefault(job, set()).add(task)
        self._tell(job)

    def heard(self, job: str, task: str) -> Iterable[Event]:
        """Note that an event of a task arrived, or that it ended; return the event for clients."""
        if (tasks := self._out_of_touch.get(job)) is None or task not in tasks:
            return ()
        tasks.remove(task)
        if not tasks:
            del self._out_of_touch[job]
        event = self._event(job)
        return () if event is None else (event,)

    def over(self, job: str, task: str) -> None:
        """Note that a task was found to have ended, and notify clients."""
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
        """Return a ``disturbed`` event of a job; None if its state has not changed."""
        if job not in self._journal:
            return None
        reason = NOTHING_COMES if self._is_general else OUT_OF_TOUCH
        disturbed = self._is_general or job in self._out_of_touch
        (self._told.add if disturbed else self._told.discard)(job)
        return self._journal.of(job).disturbance(time.time(), reason if disturbed else None)
