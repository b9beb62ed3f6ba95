"""``Redeliveries``: after a worker died, waits until the broker redelivers its tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

from bridge.protocol.event import Event
from bridge.untyped import SocketIOServer
from socket_server.journal.change import Change
from socket_server.liveness.verdicts import Verdicts

__all__ = ["Depth", "QueueReader", "Redeliveries"]

Key = tuple[str, str]


class Depth(Protocol):
    """State of a queue at the broker."""

    @property
    def ready(self) -> int:
        """Number of messages that were not delivered yet."""

    @property
    def workers(self) -> bool | None:
        """Whether a worker reads the queue; None if the broker does not report it."""


class QueueReader(Protocol):
    """Reads the state of queues from the broker."""

    def read(self, queues: list[str]) -> Mapping[str, Depth | None]: ...

    def close(self) -> None: ...


class Delivery(NamedTuple):
    """What is known of the message of a task that runs."""

    queue: str | None
    #: Seconds within which the broker delivers it again if its worker dies.
    within: float


class Redeliveries:
    """Knows which running tasks the broker delivers again, and waits for those whose worker died.

    A task is given up if it has not begun again within the time that the broker takes and
    ``lost_after`` more seconds, unless its queue has messages, or no worker reads it: like a queued
    task, it then waits for a worker.

    Args:
        verdicts: sends verdicts.
        queues: reads the state of queues, over a connection of its own.
        sio: starts background tasks, and has the state lock.
        lost_after: seconds that a free worker takes at most to begin a task.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        verdicts: Verdicts,
        queues: QueueReader,
        sio: SocketIOServer,
        lost_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._verdicts, self._queues, self._sio = verdicts, queues, sio
        self._lost_after, self._clock = lost_after, clock
        self._running: dict[Key, Delivery] = {}
        #: Deadline and queue of each task whose next delivery is awaited.
        self._awaited: dict[Key, tuple[float, str | None]] = {}
        self._is_looking = False

    def __call__(self, change: Change) -> Iterable[Event]:
        """Note how the message of a task that starts is delivered again; return no events."""
        event, key = change.event, (change.event.job, change.event.task)
        if event.verdict:
            return ()
        self._running.pop(key, None)
        self._awaited.pop(key, None)
        within = event.data.get("redelivered_within")
        if event.type == "started" and within is not None:
            self._running[key] = Delivery(event.data.get("queue"), within)
        return ()

    def within(self, job: str, task: str) -> float | None:
        """Return the seconds within which a task whose worker died is delivered again.

        None if the broker does not deliver it again, or that is not known.
        """
        delivery = self._running.get((job, task))
        return delivery.within if delivery else None

    def wait_for(self, job: str, task: str) -> None:
        """Wait for the next delivery of a task whose worker died."""
        if delivery := self._running.pop((job, task), None):
            deadline = self._clock() + delivery.within + self._lost_after
            self._awaited[job, task] = deadline, delivery.queue

    def look(self) -> None:
        """Start a check of the tasks that have not begun in time; called every second."""
        now = self._clock()
        due = {key: queue for key, (at, queue) in self._awaited.items() if at <= now}
        if due and not self._is_looking:
            self._is_looking = True
            self._sio.start_background_task(self._check, due)

    def _check(self, due: Mapping[Key, str | None]) -> None:
        try:
            names = list(dict.fromkeys(name for name in due.values() if name))
            read = self._queues.read(names) if names else {}
            self._queues.close()
            with self._sio.state_lock:
                for key, name in due.items():
                    self._decide(key, name, _may_hold(name, read))
        finally:
            self._is_looking = False

    def _decide(self, key: Key, queue: str | None, goes_on: bool) -> None:
        if key not in self._awaited:
            return  # an event of it has arrived meanwhile
        if goes_on:
            self._awaited[key] = self._clock() + self._lost_after, queue
        else:
            del self._awaited[key]
            self._verdicts.give_up(*key)


def _may_hold(queue: str | None, read: Mapping[str, Depth | None]) -> bool:
    """Whether a task may still be in its queue, as far as the broker has told."""
    if queue is None:
        return False
    if queue not in read:
        return True  # the broker does not answer
    depth = read[queue]
    return depth is not None and (depth.ready > 0 or depth.workers is False)
