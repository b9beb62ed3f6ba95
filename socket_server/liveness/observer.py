"""``LivenessObserver``: keeps the watchdog up to date on running, waiting and ended tasks."""

from __future__ import annotations

import time
from collections.abc import Iterable

from bridge.protocol.event import Event
from bridge.protocol.event_checks import is_identifier
from socket_server.journal.change import TALK, Change
from socket_server.liveness.disturbances import Disturbances
from socket_server.liveness.watchdog import Watchdog

__all__ = ["LivenessObserver", "sweep_cancelled"]

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
            self._watchdog.heard(event.job, event.task, age, _node(event))
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


def sweep_cancelled(change: Change) -> Iterable[Event]:
    """Return a verdict on the waiting tasks of a job that was cancelled.

    A worker reports the end of each of them, but not before it takes each from its queue. If one
    has begun nevertheless, its own events overturn the verdict.
    """
    if change.event.type in TALK or not change.snapshot.waits_cancelled:
        return ()
    return (change.snapshot.sweep(time.time(), CANCELLED),)


def _node(event: Event) -> str | None:
    """Return the node name of the worker if the event is the start of a task, else None.

    It is empty if the event lacks it, as with workers of 0.1.0.
    """
    if event.type != "started":
        return None
    node = (event.notes.get("emitter") or {}).get("node")
    return node if is_identifier(node) else ""
