"""What a server says of jobs that do not speak for themselves: those that wait, and the silent."""

from __future__ import annotations

import logging
import time
from collections.abc import Container
from dataclasses import replace
from typing import Any

from bridge.client.bridge import Bridge
from bridge.client.status import from_result
from bridge.errors import ResultsUnavailable
from bridge.instrumentation.outcomes import EXPIRED
from bridge.protocol.event import TERMINAL, Event, EventType
from bridge.protocol.task_state import TaskState
from socket_server.bus.managers import JobsManager
from socket_server.concurrency.state_lock import Turn
from socket_server.delivery.dispatcher import Delivery
from socket_server.estimates.durations import History
from socket_server.estimates.queue_depth import Gauge, Level, Lines
from socket_server.journal.journal import Journal
from socket_server.liveness.watchdog import Silence

__all__ = ["Estimates", "Verdicts"]

logger = logging.getLogger(__name__)

#: Why a task failed whose end its worker had to drop.
DROPPED = "its end, with the reason, was dropped while the events broker was away"
#: Jobs of one queue, those before the others, that are told their place at a time.
MAX_TOLD = 200
#: Queues of which the length is a figure, when jobs wait in others.
MAX_QUEUES = 100
#: Seconds by which an estimate of the end must have moved to be worth telling.
STEP = 5.0


class Verdicts:
    """Judges tasks of which nothing is heard.

    Args:
        delivery: tells the clients.
        journal: what the server knows.
        bridge: through which the result backend is asked.
        turn: which others have while the result backend is asked.
    """

    def __init__(self, delivery: Delivery, journal: Journal, bridge: Bridge, turn: Turn) -> None:
        self._delivery, self._journal = delivery, journal
        self._bridge, self._turn = bridge, turn

    def judge(self, silence: Silence) -> bool:
        """Say what became of a silent task: what its result says, else that it stalls or is lost.

        May take some seconds.

        Returns:
            Whether it is known not to run any more.
        """
        with self._turn:
            return self._judge(silence)

    def _judge(self, silence: Silence) -> bool:
        if silence.job not in self._journal:
            return True
        snapshot = self._journal.of(silence.job)
        task = snapshot.task(silence.task)
        if task is None or task.state != "running":
            return True
        # Made before the backend is asked: if the task is heard meanwhile, it is out of date.
        draft = snapshot.verdict(task, "stalled", time.time())
        found = self._result(silence.task)
        self._delivery.tell(_ended(draft, found) if found else _silent(draft, silence))
        return found is not None

    def settle(self, job: str, task: str) -> bool:
        """Say how a task ended if its result tells that, and it has not said so itself.

        May take some seconds.

        Returns:
            Whether the result backend has answered.
        """
        with self._turn:
            try:
                found = self._look_up(task)
            except ResultsUnavailable:
                return False
            if not found or job not in self._journal:
                return True
            state = self._journal.of(job).task(task) or self._follower(job, task)
            if state is not None and not state.ended:
                draft = self._journal.of(job).verdict(state, "stalled", time.time())
                self._delivery.tell(_ended(draft, found))
            return True

    def _follower(self, job: str, task: str) -> TaskState | None:
        """Return a task of which it is only known that it follows others, as begun after them."""
        if task not in self._journal.unheard(job):
            return None
        snapshot = self._journal.of(job)
        state = TaskState(task, snapshot.name)
        state.order = (snapshot.newest_run() + 1, 0, 0)
        return state

    def fill(self, job: str, number: int, state: EventType) -> None:
        """Say how a task ended of which nothing is known but that its end was dropped.

        Args:
            job: its job.
            number: of the task, among those of the job of which no more is known.
            state: how it ended.
        """
        with self._turn:
            if job not in self._journal:
                return
            snapshot = self._journal.of(job)
            task = TaskState(f"{job}.dropped-{number}", snapshot.name)
            reason = {} if state == "succeeded" else {"reason": DROPPED}
            self._delivery.tell(snapshot.verdict(task, state, time.time(), **reason))

    def expire(self, job: str, task: str) -> None:
        """Say that a task which waited too long will not be run: the broker just drops it."""
        if job in self._journal and (state := self._journal.of(job).task(task)) and state.waiting:
            now, told = time.time(), {"reason": EXPIRED}
            self._delivery.tell(self._journal.of(job).verdict(state, "cancelled", now, **told))

    def _result(self, task: str) -> dict[str, Any] | None:
        """Return how a task ended; None if that is not known, or not soon."""
        try:
            return self._look_up(task)
        except ResultsUnavailable as error:
            logger.warning("taskbridge: cannot tell how task %s ended: %s", task, error)
            return None

    def _look_up(self, task: str) -> dict[str, Any] | None:
        answer: dict[str, Any] | None = self._turn.outside(from_result, self._bridge.app, task)
        return answer if answer and answer["state"] in TERMINAL else None


def _ended(draft: Event, found: dict[str, Any]) -> Event:
    told = {key: found[key] for key in ("result", "result_omitted", "error") if found.get(key)}
    reason = {} if found["state"] == "succeeded" else {"reason": "its stored result says so"}
    at = found["ended_at"] or draft.at
    return replace(draft, type=found["state"], at=at, data={"verdict": True, **told, **reason})


def _silent(draft: Event, silence: Silence) -> Event:
    seconds = round(silence.silent)
    if not silence.lost:
        return replace(draft, data={"silent": seconds})
    reason = f"nothing was heard of it for {seconds} s: its worker, or the way to it, may be dead"
    return replace(draft, type="lost", data={"verdict": True, "reason": reason})


class Estimates:
    """Tells those who wait how long they may have to.

    Args:
        delivery: tells the clients.
        journal: what the server knows.
        manager: knows which jobs anybody watches.
        lines: which jobs wait in which queue.
        history: how long jobs took.
        gauge: asks the broker about its queues.
        turn: which others have while the broker is asked.
    """

    def __init__(
        self,
        delivery: Delivery,
        journal: Journal,
        manager: JobsManager,
        lines: Lines,
        history: History,
        gauge: Gauge,
        turn: Turn,
    ) -> None:
        self._delivery, self._journal, self._manager = delivery, journal, manager
        self._lines, self._history, self._gauge = lines, history, gauge
        self._turn = turn
        #: Messages in each queue in which jobs waited of late.
        self.levels: dict[str, int] = {}

    def tell(self) -> None:
        """Tell each job that waits, and is watched, its place, if that has changed."""
        if not self._lines:
            self.levels = dict.fromkeys(self.levels, 0)
            return
        read = self._turn.outside(self._gauge.read, self._lines.queues())
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

    def _tell(self, job: str, queue: str, level: Level, ahead: int | None) -> None:
        if job not in self._journal:
            self._lines.leave(job)
            return
        snapshot, now = self._journal.of(job), time.time()
        if not self._manager.is_watched(job, snapshot.owner):
            return
        place = {"name": queue, "ahead": ahead, "workers": level.workers}
        eta = self._history.expect(snapshot, now)
        before = snapshot.estimate
        if place != before.get("queue") or _moved(before.get("eta"), eta):
            self._delivery.tell(snapshot.expectation(now, queue=place, eta=eta))


def _moved(before: dict[str, Any] | None, now: dict[str, Any] | None) -> bool:
    if before is None or now is None:
        return before is not now
    return any(abs(before[name] - now[name]) >= STEP for name in ("earliest", "latest"))
