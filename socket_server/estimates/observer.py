"""``EstimatesObserver``: collects data for estimates; estimates the end of a job that starts."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bridge.protocol.event import Event
from socket_server.estimates.durations import Durations
from socket_server.estimates.queue_depth import WaitingJobs
from socket_server.journal.change import Change

__all__ = ["EstimatesObserver"]


class EstimatesObserver:
    """Notes the queues of waiting jobs, and the durations of jobs that succeeded.

    Args:
        lines: the waiting jobs of each queue.
        history: durations of jobs, by name.
    """

    def __init__(self, lines: WaitingJobs, history: Durations) -> None:
        self._lines, self._history = lines, history

    def __call__(self, change: Change) -> Iterable[Event]:
        """Note a change; return an ``estimate`` event if a task has just started."""
        event, snapshot = change.event, change.snapshot
        state = snapshot.state
        if state == "queued" and isinstance(queue := event.data.get("queue"), str):
            self._lines.join(event.job, queue)
        elif state != "queued":
            self._lines.leave(event.job)
        if change.ends and state == "succeeded":
            self._history.note(snapshot)
        if event.type != "started":
            return ()
        now = time.time()
        eta = self._history.expect(snapshot, now)
        return (snapshot.expectation(now, queue=None, eta=eta),) if eta or snapshot.estimate else ()
