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
from bridge.protocol.event import Event
from bridge.protocol.task_state import TaskState

__all__ = ["Execution", "Runs"]

#: Superseded executions of one task that are remembered, so that their late events stay refused.
MAX_PAST = 16
#: Types that tell nothing about the beginning or the end of an execution. Of a first execution
#: they say no attempt.
TALK = frozenset({"progress", "log", "output"})


class Execution(NamedTuple):
    """One execution of a task."""

    #: Number that its worker gave it.
    run: int
    #: Number that this server gives it.
    number: int
    #: Celery's number of the attempt, from 1.
    attempt: int = 1
    #: How often Celery has put another task into the place of the task before.
    replaced: int = 0
    #: Whether the message was delivered before; None where the worker did not say (0.1.0).
    redelivered: bool | None = None
    #: Workers' numbers of the executions before it, the newest last.
    past: tuple[int, ...] = ()

    @property
    def usual(self) -> bool:
        """Whether the task's state alone tells all of it: a first attempt under its own number."""
        first = self.attempt == 1 and not (self.past or self.redelivered or self.replaced)
        return first and self.run == self.number


class Runs(dict[str, Execution]):
    """The current execution of each task of a job, by the task's id; usual ones are left out.

    Most jobs have one task that is executed once, so nothing is held for it.
    """

    __slots__ = ("ended",)

    def __init__(self) -> None:
        super().__init__()
        #: Greatest number of an execution that has ended. What begins later may be what comes
        #: after it in a canvas, whose result is the job's.
        self.ended = 0

    def of(self, event: Event, task: TaskState | None) -> Execution | None:
        """Return the execution that an event is from; None if a newer one has begun.

        Args:
            event: as its worker sent it.
            task: what is known of its task; None for nothing.
        """
        if task is None or task.order[0] <= 0:
            return _numbered(event, self.ended)
        known = self.get(task.task) or Execution(task.order[0], task.order[0])
        if event.run == known.run:
            return known._replace(attempt=max(known.attempt, event.data.get("attempt", 1)))
        if event.run in known.past or not _is_newer(event, known, task):
            return None
        past = (*known.past, known.run)[-MAX_PAST:]
        return _numbered(event, known.number, known)._replace(past=past)

    def keep(self, event: Event, execution: Execution) -> None:
        """Remember the execution that an event is from, once the event was folded in."""
        if event.type == "retrying" and event.data.get("reason") == REPLACED:
            # What comes now is counted from 1 again, and not all of a canvas says `replaced`.
            execution = execution._replace(attempt=0, replaced=0, redelivered=None)
        if not execution.usual:
            self[event.task] = execution
        if event.terminal:
            self.ended = max(self.ended, execution.number)


def _numbered(event: Event, below: int, like: Execution | None = None) -> Execution:
    """Return the execution that an event begins, with a number greater than ``below``.

    Args:
        event: the first that came of it.
        below: a number.
        like: what is assumed of it, where the event does not say which attempt it is.
    """
    number, data = max(event.run, below + 1), event.data
    if like is not None and "attempt" not in data:
        return like._replace(run=event.run, number=number)
    count = data.get("attempt", 1), data.get("replaced", 0)
    return Execution(event.run, number, *count, data.get("redelivered"))


def _is_newer(event: Event, known: Execution, task: TaskState) -> bool:
    """Whether an event of an unknown execution is from one after the known one.

    A worker's parent process reports the death of a child under a number of its own, with the
    child's attempt.
    """
    attempt, redelivered = event.data.get("attempt"), event.data.get("redelivered")
    if attempt is None:
        return _may_be_newer(event.run, known, task)
    count = (event.data.get("replaced", 0), attempt)
    if count != (known.replaced, known.attempt):
        return bool(count > (known.replaced, known.attempt))
    if None not in (redelivered, known.redelivered) and redelivered != known.redelivered:
        return bool(redelivered)
    # Deliveries of one message that nothing tells apart, so what begins later is newer.
    return event.type not in TALK or _may_be_newer(event.run, known, task)


def _may_be_newer(run: int, known: Execution, task: TaskState) -> bool:
    """Whether an execution whose attempt is not known is newer, as far as its number tells.

    The parent process of a worker of 0.1.0 does not say the attempt, and has the clock of the
    execution that it reports about: that is the one with the greatest number below.
    """
    below = max((one for one in (known.run, *known.past) if one < run), default=None)
    if below is None:
        return task.state == "retrying"  # nothing else comes from the known one
    return below == known.run
