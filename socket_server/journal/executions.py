"""Numbers the executions of a job's tasks in the order in which Celery began them. Pure.

A worker numbers an execution by its host's clock (``Event.run``), which may be hours off. Clients
take a greater number for a newer execution. So the server compares what Celery knows, the number of
the attempt and whether the message was redelivered, and gives a newer execution whose number is not
greater the next free number. The numbers depend only on the events before, in their order: all
servers that read one stream give the same ones.
"""

from __future__ import annotations

from typing import NamedTuple

from bridge.instrumentation.outcomes import REPLACED
from bridge.protocol.event import TALK, Event
from bridge.protocol.task_state import TaskState

__all__ = ["Execution", "Executions"]

#: Superseded executions of one task that are remembered, so that their late events stay refused.
MAX_PAST = 16


class Execution(NamedTuple):
    """One execution of a task."""

    #: Number that the worker gave it.
    run: int
    #: Number that this server gives it.
    number: int
    #: Celery's number of the attempt, from 1.
    attempt: int = 1
    #: How often Celery had replaced the task with another one (``Task.replace``) before.
    replaced: int = 0
    #: Whether the message was delivered before; None if the worker does not report it (0.1.0).
    redelivered: bool | None = None
    #: Numbers that workers gave the executions before it, the newest last.
    past: tuple[int, ...] = ()

    @property
    def usual(self) -> bool:
        """Whether it need not be stored: a first attempt with the number that the worker gave."""
        first = self.attempt == 1 and not (self.past or self.redelivered or self.replaced)
        return first and self.run == self.number


class Executions(dict[str, Execution]):
    """The current execution of each task of a job, by the task's id, unless it is a usual one.

    Most jobs have one task that is executed once, so nothing is held for it.
    """

    __slots__ = ("ended",)

    def __init__(self) -> None:
        super().__init__()
        #: Greatest number of an execution that has ended. A task that begins later gets a greater
        #: one: it may be the next task of a canvas, whose result is the job's.
        self.ended = 0

    def are_unchanged_by(self, event: Event, task: TaskState | None) -> bool:
        """Whether ``of`` and ``keep`` can be left out, as for a bar or a line of a usual execution.

        Args:
            event: the event, as the worker sent it.
            task: state of its task; None if it is unknown.
        """
        known = task is not None and event.run == task.order[0] and event.task not in self
        return known and event.type in TALK and "attempt" not in event.data

    def of(self, event: Event, task: TaskState | None) -> Execution | None:
        """Return the execution of an event; None if a newer execution has begun.

        Args:
            event: the event, as the worker sent it.
            task: state of its task; None if it is unknown.
        """
        if task is None or task.order[0] <= 0:
            return _numbered(event, self.ended)
        known = self.get(task.task) or Execution(task.order[0], task.order[0])
        if event.run == known.run:
            later = event.data.get("attempt", 1) > known.attempt
            return known._replace(attempt=event.data["attempt"]) if later else known
        if event.run in known.past or not _is_newer(event, known, task):
            return None
        past = (*known.past, known.run)[-MAX_PAST:]
        return _numbered(event, known.number, known)._replace(past=past)

    def keep(self, event: Event, execution: Execution) -> None:
        """Remember the execution of an event after the event was folded in."""
        if event.type == "retrying" and event.data.get("reason") == REPLACED:
            # The new task counts attempts from 1, and not all tasks of a canvas report `replaced`.
            execution = execution._replace(attempt=0, replaced=0, redelivered=None)
        if not execution.usual:
            self[event.task] = execution
        if event.terminal:
            self.ended = max(self.ended, execution.number)


def _numbered(event: Event, below: int, like: Execution | None = None) -> Execution:
    """Return the execution that an event begins, with a number greater than ``below``.

    Args:
        event: the first event of the execution that has come.
        below: number of an earlier execution.
        like: execution to copy if the event does not carry the attempt; None for none.
    """
    number, data = max(event.run, below + 1), event.data
    if like is not None and "attempt" not in data:
        return like._replace(run=event.run, number=number)
    count = data.get("attempt", 1), data.get("replaced", 0)
    return Execution(event.run, number, *count, data.get("redelivered"))


def _is_newer(event: Event, known: Execution, task: TaskState) -> bool:
    """Whether an event of an unknown execution is from one after the known one.

    A worker's parent process reports the death of a pool process under a number of its own, with
    the attempt that the pool process executed.
    """
    attempt, redelivered = event.data.get("attempt"), event.data.get("redelivered")
    if attempt is None:
        return _may_be_newer(event.run, known, task)
    count = (event.data.get("replaced", 0), attempt)
    if count != (known.replaced, known.attempt):
        return bool(count > (known.replaced, known.attempt))
    if None not in (redelivered, known.redelivered) and redelivered != known.redelivered:
        return bool(redelivered)
    # Deliveries of one message that cannot be distinguished: the one that begins later is newer.
    return event.type not in TALK or _may_be_newer(event.run, known, task)


def _may_be_newer(run: int, known: Execution, task: TaskState) -> bool:
    """Whether an execution of an unknown attempt is newer, judged by its number.

    The parent process of a worker of 0.1.0 reports no attempt, and numbers its report by the clock
    that numbered the reported execution: that is the one with the greatest number below.
    """
    below = max((one for one in (known.run, *known.past) if one < run), default=None)
    if below is None:
        return task.state == "retrying"  # the known one sends nothing more
    return below == known.run
