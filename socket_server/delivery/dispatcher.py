"""From an event to those who watch, and to all who keep account of jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bridge import tracing
from bridge.protocol.event import Event, EventType, is_identifier, room_of_job, room_of_owner
from bridge.protocol.snapshot import Snapshot
from socket_server.bus.managers import JobsManager
from socket_server.estimates.durations import History
from socket_server.estimates.queue_depth import Lines
from socket_server.journal.journal import Journal
from socket_server.liveness.watchdog import Watchdog
from socket_server.messages.encoded_event import Message
from socket_server.observability.metrics import Metrics
from socket_server.observability.tracing import Delivered

__all__ = ["Delivery"]

#: What a running task tells beside its lifecycle.
TALK = frozenset({"progress", "log", "output"})
CANCELLED = "it was cancelled while it waited"


class Delivery:
    """Folds events into the journal and sends what is news to clients.

    Args:
        manager: sends to clients.
        journal: what the server knows.
        watchdog: is told which tasks run, and when they were heard.
        history: is told how long jobs took.
        lines: is told which jobs wait.
        metrics: is told what operators can scrape.
        delivered: makes spans of deliveries; None for none.
    """

    #: Called with a job, and the numbers of its ends that a worker had to drop, by their states.
    on_unreported: Callable[[str, dict[EventType, int]], None] = staticmethod(
        lambda job, ends: None
    )
    #: Called with job and task of each event of a task's own.
    on_word: Callable[[str, str], None] = staticmethod(lambda job, task: None)

    def __init__(
        self,
        manager: JobsManager,
        journal: Journal,
        watchdog: Watchdog,
        history: History,
        lines: Lines,
        metrics: Metrics,
        delivered: Delivered | None = None,
    ) -> None:
        self._manager, self._journal = manager, journal
        self._watchdog, self._history, self._lines = watchdog, history, lines
        self._metrics, self._delivered = metrics, delivered

    def take(self, event: Event) -> None:
        """Take in an event of the bus."""
        self._metrics.flow.read += 1
        # Of no use to clients, and none of their business.
        told, trace = event.data.pop("emitter", None), event.data.pop(tracing.FIELD, None)
        unreported = event.data.pop("unreported", None)
        past = not self._manager.ready
        message = self._journal.fold(event, self._manager.place, late=self._manager.late, past=past)
        self._metrics.flow.stale += message is None
        watched = self._send(event, message, _node(event, told))
        if unreported and message is not None:
            self.on_unreported(event.job, unreported)
        if told:
            self._metrics.heard(told, event.at, watched=watched, live=self._manager.ready)
        if trace and watched and self._delivered:
            self._delivered(event, trace)

    def tell(self, event: Event) -> None:
        """Take in an event that this server has made for its own clients."""
        self._send(event, self._journal.fold(event))

    def _send(self, event: Event, message: Message | None, node: str | None = None) -> bool:
        """Send an event that is news; return whether anybody gets it."""
        if message is None:
            return False
        owner = self._journal.owner(event.job)
        rooms = [room_of_job(event.job)]
        if owner:
            rooms.append(room_of_owner(owner))
        passing = event.type in ("progress", "estimate", "disturbed")
        latest = (event.job, event.task, event.type) if passing else None
        watched = self._manager.deliver_job(message, rooms, latest)
        if not event.verdict:
            self._hear(event, node)
            self.on_word(event.job, event.task)
        if event.type not in TALK:
            self._note(event, self._journal.of(event.job), ends=message.ends)
        return watched

    def _hear(self, event: Event, node: str | None) -> None:
        # What is replayed was said long ago.
        age = 0.0 if self._manager.ready else time.time() - event.at
        task = self._journal.of(event.job).task(event.task)
        if task is not None and task.state == "running":
            self._watchdog.heard(event.job, event.task, age, node)
        else:
            self._watchdog.over(event.job, event.task)
            if event.type == "queued" and (at := event.data.get("expires_at")):
                # Both times are by the clock of who published the task, which may be hours off.
                apart = time.time() - event.at if self._manager.ready else 0.0
                self._watchdog.expires(event.job, event.task, at + apart)

    def _note(self, event: Event, snapshot: Snapshot, *, ends: bool) -> None:
        state = snapshot.state
        if state == "queued" and isinstance(queue := event.data.get("queue"), str):
            self._lines.join(event.job, queue)
        elif state != "queued":
            self._lines.leave(event.job)
        if ends and self._manager.ready:
            self._metrics.ended(snapshot)
        if ends and state == "succeeded":
            self._history.note(snapshot)
        if event.type == "started":
            self._expect(snapshot)
        if snapshot.waits_cancelled:
            # A worker says so itself, but not before it comes to each of them. If one has just
            # begun all the same, its own word overturns this.
            self.tell(snapshot.sweep(time.time(), CANCELLED))

    def _expect(self, snapshot: Snapshot) -> None:
        now = time.time()
        if (eta := self._history.expect(snapshot, now)) or snapshot.estimate:
            self.tell(snapshot.expectation(now, queue=None, eta=eta))


def _node(event: Event, told: dict[str, Any] | None) -> str | None:
    """Return the node name of the worker that begins to run a task.

    It is empty if the worker does not say it, as those of 0.1.0; None for another event.
    """
    if event.type != "started":
        return None
    node = (told or {}).get("node")
    return node if is_identifier(node) else ""
