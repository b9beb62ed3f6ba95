"""``WorkerInquiry``: asks the worker of a silent task about it before the task counts as lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from bridge.untyped import SocketIOServer
from socket_server.liveness.disturbances import Disturbances
from socket_server.liveness.event_path import EventPath
from socket_server.liveness.redeliveries import Redeliveries
from socket_server.liveness.verdicts import Verdicts
from socket_server.liveness.watchdog import Silence, Watchdog
from socket_server.liveness.worker_inspection import MAX_TASKS, WorkerInspection

__all__ = ["WorkerInquiry"]

logger = logging.getLogger(__name__)

#: Seconds between two queries of workers.
PAUSE = 1.0


class WorkerInquiry:
    """Asks workers about tasks that are due to be lost: many in one query, one query at a time.

    Args:
        workers: queries the workers.
        verdicts: sends verdicts on tasks.
        watchdog: watches the tasks on that are not lost.
        disturbances: notes running tasks from which no events arrive.
        redeliveries: waits for tasks that the broker delivers again.
        path: knows whether events of workers can arrive at all.
        sio: starts background tasks, sleeps, and has the state lock.
    """

    def __init__(
        self,
        workers: WorkerInspection,
        verdicts: Verdicts,
        watchdog: Watchdog,
        disturbances: Disturbances,
        redeliveries: Redeliveries,
        path: EventPath,
        sio: SocketIOServer,
    ) -> None:
        self._workers, self._verdicts, self._watchdog = workers, verdicts, watchdog
        self._disturbances, self._redeliveries = disturbances, redeliveries
        self._path, self._sio = path, sio
        self._waiting: dict[tuple[str, str], Silence] = {}
        self._is_asking = False

    def add(self, silences: Iterable[Silence]) -> None:
        """Add tasks to ask about; return at once."""
        self._waiting.update({(one.job, one.task): one for one in silences})
        if self._waiting and not self._is_asking:
            self._is_asking = True
            self._sio.start_background_task(self._ask_all)

    def _ask_all(self) -> None:
        with self._sio.state_lock:
            try:
                while self._waiting:
                    self._ask_some()
                    self._sio.state_lock.outside(self._sio.sleep, PAUSE)
            finally:
                self._is_asking = False

    def _ask_some(self) -> None:
        keys = list(self._waiting)[:MAX_TASKS]
        batch = [self._waiting.pop(key) for key in keys]
        nodes = {one.task: one.node for one in batch}
        there = self._sio.state_lock.outside(self._workers.ask, nodes)
        for silence in batch:
            self._sio.start_background_task(self._conclude, silence, there[silence.task])

    def _conclude(self, silence: Silence, there: bool | None) -> None:
        """Conclude from what ``WorkerInspection.ask`` returned for a task.

        If an event of the task has arrived meanwhile, others follow it, maybe its end: a verdict
        would be ahead of them.
        """
        if self._watchdog.watches(silence.job, silence.task):
            return
        # The stored result is read after the worker was asked, since the task may end in between.
        lost = there is False and self._path.is_open
        within = self._redeliveries.within(silence.job, silence.task)
        is_over = self._verdicts.judge(silence._replace(lost=lost), within) or lost
        with self._sio.state_lock:
            if is_over:
                self._redeliveries.wait_for(silence.job, silence.task)
                self._disturbances.over(silence.job, silence.task)
                return
            self._watchdog.vouch(silence.job, silence.task, silence.node)
            if self._path.is_open:
                self._disturbances.note(silence.job, silence.task)
