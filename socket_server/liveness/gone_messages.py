"""``GoneMessages``: finds waiting tasks whose messages are nowhere any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from bridge.protocol.event import Event
from bridge.untyped import SocketIOServer
from socket_server.journal.change import Change
from socket_server.liveness.event_path import EventPath
from socket_server.liveness.verdicts import NOWHERE, Verdicts
from socket_server.liveness.worker_inspection import MAX_TASKS

__all__ = ["GoneMessages", "MessageFinder"]

Key = tuple[str, str]

#: Fraction of ``TASKBRIDGE_LOST_AFTER`` between two searches, which all workers answer, and maximum
#: queues of one search.
PART, QUEUES = 0.1, 20
#: Seconds between two look-ups in the result backend.
PAUSE = 0.05


class MessageFinder(Protocol):
    """Looks for task messages in queues and workers."""

    def without_message(self, tasks: Mapping[str, str]) -> set[str]: ...


@dataclass(slots=True, eq=False)
class Message:
    """The message of a task that waits."""

    queue: str
    #: When it is looked for, by the monotonic clock.
    due: float
    #: Whether it was nowhere when it was looked for.
    missed: bool = False


class GoneMessages:
    """Looks for the messages of tasks that wait for long, on RabbitMQ.

    A worker that acknowledges a task early may die before the task has sent an event; a queue may
    be purged or deleted; a broker that dies may lose a message. A task without an event for
    ``lost_after`` seconds is looked for, and again after as many seconds, since a message may be on
    its way between two places. If its message is nowhere both times, and no end is stored, the task
    is lost.

    Args:
        finder: looks for messages.
        verdicts: asks the result backend, and sends verdicts.
        path: knows whether events of workers can arrive at all.
        sio: starts background tasks, sleeps, and has the state lock.
        lost_after: seconds.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        finder: MessageFinder,
        verdicts: Verdicts,
        path: EventPath,
        sio: SocketIOServer,
        lost_after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._finder, self._verdicts, self._path, self._sio = finder, verdicts, path, sio
        self._lost_after, self._clock = lost_after, clock
        #: Messages of waiting tasks whose queues are known, those that are due first in front.
        self._messages: dict[Key, Message] = {}
        self._is_looking, self._next_search = False, 0.0

    def __call__(self, change: Change) -> Iterable[Event]:
        """Note the queue of a task that waits; return no events."""
        event, key = change.event, (change.event.job, change.event.task)
        if event.verdict:
            return ()
        self._messages.pop(key, None)
        task, queue = change.snapshot.task(event.task), event.data.get("queue")
        if task is not None and task.waiting and isinstance(queue, str):
            self._messages[key] = Message(queue, self._clock() + self._lost_after)
        return ()

    def look(self) -> None:
        """Start a search for the messages that are due; called every second."""
        now = self._clock()
        if self._is_looking or now < self._next_search or not self._path.is_open:
            return
        if due := self._due(now):
            self._is_looking, self._next_search = True, now + PART * self._lost_after
            self._sio.start_background_task(self._search, due)

    def _due(self, now: float) -> dict[Key, Message]:
        queues, due = set[str](), dict[Key, Message]()
        for key, message in self._messages.items():
            queues.add(message.queue)
            if message.due > now or len(queues) > QUEUES or len(due) == MAX_TASKS:
                break
            due[key] = message
        return due

    def _search(self, due: dict[Key, Message]) -> None:
        try:
            tasks = {task: message.queue for (_, task), message in due.items()}
            gone = self._finder.without_message(tasks)
            with self._sio.state_lock:
                lost = [key for key in due if self._is_lost(key, due[key], key[1] in gone)]
            for key in lost:
                if not self._conclude(key, due[key]):
                    return
                self._sio.sleep(PAUSE)
        finally:
            self._is_looking = False

    def _is_lost(self, key: Key, message: Message, gone: bool) -> bool:
        """Note where a message was; return whether it was nowhere for the second time."""
        if self._messages.get(key) is not message:
            return False  # an event of the task has arrived meanwhile
        del self._messages[key]
        if self._verdicts.waiting(*key) is None:
            return False
        self._messages[key] = message  # behind all others
        before, message.missed = message.missed, gone and self._path.is_open
        message.due = self._clock() + self._lost_after
        return before and message.missed

    def _conclude(self, key: Key, message: Message) -> bool:
        """Report how a task ended; return whether the result backend has answered."""
        if not self._verdicts.settle(*key):
            return False
        with self._sio.state_lock:
            if self._messages.get(key) is message:
                del self._messages[key]
                self._verdicts.give_up(*key, NOWHERE)
        return True
