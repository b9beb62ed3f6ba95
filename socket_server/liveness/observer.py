"""``LivenessObserver``: keeps the watchdog up to date on running, waiting and ended tasks."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bridge.protocol.event import Event
from bridge.protocol.event_checks import is_identifier
from bridge.protocol.task_state import TaskState
from socket_server.journal.change import Change
from socket_server.journal.journal import Journal
from socket_server.liveness.disturbances import Disturbances
from socket_server.liveness.watchdog import Watchdog

__all__ = ["CancelSweep", "LivenessObserver"]

CANCELLED = "it was cancelled while it waited"


class LivenessObserver:
    """Notes each event that a task itself has sent.

    Args:
        watchdog: keeps the time since the last event of each running task.
        disturbances: knows the running tasks from which no events arrive.
    """

    def __init__(self, watchdog: Watchdog, disturbances: Disturbances) -> None:
        self._watchdog, self._disturbances = watchdog, disturbances

    def __call__(self, change: Change) -> Iterable[Event]:
        """Note a change; return an event if the path to the job's workers is open again."""
        event = change.event
        if event.verdict:
            return ()
        task = change.snapshot.task(event.task)
        if task is not None and task.state == "running":
            # A replayed event may be old.
            age = 0.0 if change.live else time.time() - event.at
            node = _node(event) if event.type == "started" else None
            self._watchdog.heard(event.job, event.task, age, node)
        else:
            self._watchdog.over(event.job, event.task)
            self._expire(change)
        return self._disturbances.heard(event.job, event.task)

    def _expire(self, change: Change) -> None:
        event = change.event
        if event.type == "queued" and (at := event.data.get("expires_at")):
            # Both times are by the publisher's clock, which may be hours off this server's.
            apart = time.time() - event.at if change.live else 0.0
            self._watchdog.expires(event.job, event.task, at + apart)


class CancelSweep:
    """Ends what is left of a cancelled job once none of its tasks runs.

    A worker reports the end of each waiting task, but not before it takes it from its queue. Of a
    task that was to follow others, such as a chord's body, it reports nothing: Celery does not
    publish it. If one begins nevertheless, its own events overturn the verdict.

    Args:
        journal: knows the tasks that are to follow others.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def __call__(self, change: Change) -> Iterable[Event]:
        """Return verdicts on the tasks that are left; none unless the job was cancelled."""
        snapshot, now = change.snapshot, time.time()
        if snapshot.waits_cancelled:
            return (snapshot.sweep(now, CANCELLED),)
        if not snapshot.rests_cancelled:
            return ()
        left = (TaskState(task, snapshot.name) for task in self._journal.unheard(snapshot.job))
        return [snapshot.verdict(one, "cancelled", now, reason=CANCELLED) for one in left]


def _node(event: Event) -> str:
    """Return the node name of a task's worker; empty if the event lacks it, as of 0.1.0."""
    node = (event.notes.get("emitter") or {}).get("node")
    return node if is_identifier(node) else ""
