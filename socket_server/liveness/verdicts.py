"""``Verdicts``: reports in place of tasks whose events, or ends, do not arrive."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from bridge.client.bridge import Bridge
from bridge.client.status import from_result
from bridge.errors import ResultsUnavailable
from bridge.instrumentation.outcomes import EXPIRED
from bridge.protocol.event import TERMINAL, Event, EventType
from bridge.protocol.json_types import SnapshotData
from bridge.protocol.task_state import TaskState
from socket_server.concurrency.state_lock import StateLock
from socket_server.journal.journal import Journal
from socket_server.liveness.watchdog import Silence

__all__ = ["NOWHERE", "Verdicts"]

logger = logging.getLogger(__name__)

GONE = "its worker is gone: the broker delivers it to another worker"
NOT_REDELIVERED = "its worker is gone, and the broker has not delivered it to another one"
NOWHERE = (
    "its message is gone: neither its queue nor a worker has it, so a worker died as it took the "
    "task, or the message was purged or lost"
)
#: Reason of an end that was created from the number of dropped ends.
DROPPED = "its end, with the reason, was dropped while the events broker was away"


class Verdicts:
    """Sends verdicts on tasks from which no events arrive.

    Args:
        tell: called with each verdict; see :meth:`.Dispatcher.tell`.
        journal: the jobs that the server holds.
        bridge: gives access to the result backend.
        state_lock: the state lock, released while the result backend is asked.
    """

    def __init__(
        self, tell: Callable[[Event], None], journal: Journal, bridge: Bridge, state_lock: StateLock
    ) -> None:
        self._tell, self._journal = tell, journal
        self._bridge, self._state_lock = bridge, state_lock

    def judge(self, silence: Silence, redelivered_within: float | None = None) -> bool:
        """Report the end of a silent task by its stored result, else that it is stalled or lost.

        May take some seconds.

        Args:
            silence: the silent task.
            redelivered_within: seconds within which the broker delivers the task again, if it is
                lost: reported is that it is tried again. Default None: it is not delivered again.

        Returns:
            Whether the task does not run any more, by its result or by the journal.
        """
        with self._state_lock:
            return self._judge(silence, redelivered_within)

    def _judge(self, silence: Silence, within: float | None) -> bool:
        if silence.job not in self._journal:
            return True
        snapshot = self._journal.of(silence.job)
        task = snapshot.task(silence.task)
        if task is None or task.state != "running":
            return True
        # Created first: if an event of the task arrives meanwhile, the verdict counts as stale.
        draft = snapshot.verdict(task, "stalled", time.time())
        found = self._result(silence.task)
        self._tell(_ended(draft, found) if found else _silent(draft, silence, within))
        return found is not None

    def settle(self, job: str, task: str) -> bool:
        """Report the end of a task by its stored result, unless the task has reported its end.

        May take some seconds.

        Returns:
            Whether the result backend has answered, or need not be asked.
        """
        with self._state_lock:
            if (state := self._unreported(job, task)) is None:
                return True
            # Created first: if an event of the task arrives meanwhile, the verdict counts as stale.
            draft = self._journal.of(job).verdict(state, "stalled", time.time())
            try:
                found = self._look_up(task)
            except ResultsUnavailable:
                return False
            if found and job in self._journal and found["state"] != state.state:
                self._tell(_ended(draft, found))
            return True

    def _unreported(self, job: str, task: str) -> TaskState | None:
        """Return the state of a task that has not reported its end; None if it has."""
        if job not in self._journal:
            return None
        state = self._journal.of(job).task(task) or self._follower(job, task)
        return state if state and (not state.ended or state.presumed) else None

    def _follower(self, job: str, task: str) -> TaskState | None:
        """Return the state of a task known only to follow others, as if begun after them."""
        if task not in self._journal.unheard(job):
            return None
        snapshot = self._journal.of(job)
        state = TaskState(task, snapshot.name)
        state.order = (snapshot.newest_run() + 1, 0, 0)
        return state

    def fill(self, job: str, number: int, state: EventType) -> None:
        """Report the end of an unknown task whose end was dropped.

        Args:
            job: id of the job.
            number: number of the task among the unknown tasks of the job.
            state: how the task ended.
        """
        with self._state_lock:
            if job not in self._journal:
                return
            snapshot = self._journal.of(job)
            task = TaskState(f"{job}.dropped-{number}", snapshot.name)
            reason = {} if state == "succeeded" else {"reason": DROPPED}
            self._tell(snapshot.verdict(task, state, time.time(), **reason))

    def give_up(self, job: str, task: str, reason: str = NOT_REDELIVERED) -> None:
        """Report a waiting task as lost: no worker will run it.

        Args:
            job: id of the job.
            task: id of the task.
            reason: why; default: the broker has not delivered it again.
        """
        self._end_waiting(job, task, "lost", reason)

    def expire(self, job: str, task: str) -> None:
        """Report a waiting task that has expired as cancelled: the broker drops it silently."""
        self._end_waiting(job, task, "cancelled", EXPIRED)

    def _end_waiting(self, job: str, task: str, kind: EventType, reason: str) -> None:
        if (state := self.waiting(job, task)) is not None:
            self._tell(self._journal.of(job).verdict(state, kind, time.time(), reason=reason))

    def waiting(self, job: str, task: str) -> TaskState | None:
        """Return the state of a task that waits; None if it does not, or is not known."""
        state = self._journal.of(job).task(task) if job in self._journal else None
        return state if state and state.waiting else None

    def _result(self, task: str) -> SnapshotData | None:
        """Return how a task ended; None if it is unknown, or the result backend does not answer."""
        try:
            return self._look_up(task)
        except ResultsUnavailable as error:
            logger.warning("taskbridge: cannot tell how task %s ended: %s", task, error)
            return None

    def _look_up(self, task: str) -> SnapshotData | None:
        answer = self._state_lock.outside(from_result, self._bridge.app, task)
        return answer if answer and answer["state"] in TERMINAL else None


def _ended(draft: Event, found: SnapshotData) -> Event:
    fields: Mapping[str, object] = found
    told = {key: fields[key] for key in ("result", "result_omitted", "error") if fields.get(key)}
    reason = {} if found["state"] == "succeeded" else {"reason": "its stored result says so"}
    at = found["ended_at"] or draft.at
    kind = cast("EventType", found["state"])
    return replace(draft, type=kind, at=at, data={"verdict": True, **told, **reason})


def _silent(draft: Event, silence: Silence, within: float | None) -> Event:
    seconds = round(silence.silent)
    if not silence.lost:
        return replace(draft, data={"silent": seconds})
    if within is not None:
        when = f" within {within:g} s" if within else ""
        return replace(draft, type="retrying", data={"verdict": True, "reason": GONE + when})
    reason = f"nothing was heard of it for {seconds} s: its worker, or the way to it, may be dead"
    return replace(draft, type="lost", data={"verdict": True, "reason": reason})
