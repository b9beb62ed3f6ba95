"""``Verdicts``: what a server says of a task that is silent, and whose end did not arrive."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bridge.client.bridge import Bridge
from bridge.client.status import from_result
from bridge.errors import ResultsUnavailable
from bridge.instrumentation.outcomes import EXPIRED
from bridge.protocol.event import TERMINAL, Event, EventType
from bridge.protocol.task_state import TaskState
from socket_server.concurrency.state_lock import StateLock
from socket_server.journal.journal import Journal
from socket_server.liveness.watchdog import Silence

__all__ = ["Verdicts"]

logger = logging.getLogger(__name__)

#: Why a task failed whose end its worker had to drop.
DROPPED = "its end, with the reason, was dropped while the events broker was away"


class Verdicts:
    """Judges tasks of which nothing is heard.

    Args:
        tell: takes each verdict, as :meth:`.Dispatcher.tell` does.
        journal: what the server knows.
        bridge: through which the result backend is asked.
        state_lock: which others have while the result backend is asked.
    """

    def __init__(
        self, tell: Callable[[Event], None], journal: Journal, bridge: Bridge, state_lock: StateLock
    ) -> None:
        self._tell, self._journal = tell, journal
        self._bridge, self._state_lock = bridge, state_lock

    def judge(self, silence: Silence) -> bool:
        """Say what became of a silent task: what its result says, else that it stalls or is lost.

        May take some seconds.

        Returns:
            Whether it is known not to run any more.
        """
        with self._state_lock:
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
        self._tell(_ended(draft, found) if found else _silent(draft, silence))
        return found is not None

    def settle(self, job: str, task: str) -> bool:
        """Say how a task ended if its result tells that, and it has not said so itself.

        May take some seconds.

        Returns:
            Whether the result backend has answered.
        """
        with self._state_lock:
            try:
                found = self._look_up(task)
            except ResultsUnavailable:
                return False
            if not found or job not in self._journal:
                return True
            state = self._journal.of(job).task(task) or self._follower(job, task)
            if state is None or found["state"] == state.state:
                return True
            if not state.ended or state.presumed:
                draft = self._journal.of(job).verdict(state, "stalled", time.time())
                self._tell(_ended(draft, found))
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
        with self._state_lock:
            if job not in self._journal:
                return
            snapshot = self._journal.of(job)
            task = TaskState(f"{job}.dropped-{number}", snapshot.name)
            reason = {} if state == "succeeded" else {"reason": DROPPED}
            self._tell(snapshot.verdict(task, state, time.time(), **reason))

    def expire(self, job: str, task: str) -> None:
        """Say that a task which waited too long will not be run: the broker just drops it."""
        if job in self._journal and (state := self._journal.of(job).task(task)) and state.waiting:
            now, told = time.time(), {"reason": EXPIRED}
            self._tell(self._journal.of(job).verdict(state, "cancelled", now, **told))

    def _result(self, task: str) -> dict[str, Any] | None:
        """Return how a task ended; None if that is not known, or not soon."""
        try:
            return self._look_up(task)
        except ResultsUnavailable as error:
            logger.warning("taskbridge: cannot tell how task %s ended: %s", task, error)
            return None

    def _look_up(self, task: str) -> dict[str, Any] | None:
        answer: dict[str, Any] | None = self._state_lock.outside(
            from_result, self._bridge.app, task
        )
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
