"""``TaskState``: the state of one task of a job, folded from its events. Pure."""

from __future__ import annotations

import json
import sys
from typing import TypedDict, cast

from bridge.protocol.event import TERMINAL, Event, EventType, finite_json
from bridge.protocol.json_types import (
    BarData,
    Ending,
    JobFailure,
    JobState,
    JSONObject,
    Resumption,
    StepData,
    TaskData,
)

__all__ = [
    "INCOMPLETE",
    "NOTHING",
    "PRESUMED",
    "STALLED",
    "WHY",
    "Place",
    "TaskState",
    "Why",
    "end_of_steps",
]

#: State of a task after an event that does not end it.
STATES = {
    "queued": "queued",
    "started": "running",
    "progress": "running",
    "log": "running",
    "output": "running",
    "retrying": "retrying",
}
#: Types of events with the parent of a task, and with times before its end.
BEGINS = ("queued", "started")
#: Types of events that begin no execution: a worker's parent may send them about one.
NO_BEGINNING = TERMINAL | {"retrying"}


#: Types of verdicts that set a task's state.
PRESUMABLE = ("lost", "cancelled", "retrying")


class Why(TypedDict, total=False):
    """Why a task ended, or is to run again, as far as an event's data tells it."""

    error: JobFailure | None
    reason: str | None
    retry_at: float | None


#: Fields of an event's data that a ``Why`` has.
WHY = ("error", "reason", "retry_at")

#: Shared empty values, which save memory; never changed.
NOTHING: JSONObject = {}
NO_BARS: list[BarData] = []
NO_STEPS: list[StepData] = []
NO_REASON: Why = {}

#: Sort key of tasks in a snapshot's list: group, run, id.
Place = tuple[int, int, str]
#: Groups of tasks in a snapshot's list: unfinished, failed (``WENT_WRONG``), succeeded.
GROUPS = {"running": 0, "retrying": 1, "queued": 2, "succeeded": 4}
WENT_WRONG = 3

#: Bits of :attr:`TaskState.flags`, which are one number because a server holds many tasks.
INCOMPLETE, STALLED, PRESUMED = 1, 2, 4


class TaskState:
    """State of one task of a job."""

    __slots__ = (
        "_bars",
        "_steps",
        "attempt",
        "ended_at",
        "flags",
        "meta",
        "name",
        "order",
        "parent",
        "queued_at",
        "resumed",
        "started_at",
        "state",
        "steps_omitted",
        "task",
        "why",
    )

    def __init__(self, task: str, name: str) -> None:
        self.task, self.name = task, name
        self.state = "queued"
        self.attempt = 0
        self._bars: list[BarData] | str = NO_BARS
        self._steps: list[StepData] | str = NO_STEPS
        #: Steps that are not in the list.
        self.steps_omitted = 0
        self.meta: JSONObject = NOTHING
        #: What its execution goes on from; None for one that has begun anew.
        self.resumed: Resumption | None = None
        self.order = (-1, -1, -1)
        self.flags = 0
        #: Id of the task that published it; None for none, or before that was reported.
        self.parent: str | None = None
        #: Seconds since the epoch at which it was published, at which its newest execution began,
        #: and at which it ended. Snapshots list the last alone.
        self.queued_at: float | None = None
        self.started_at: float | None = None
        self.ended_at: float | None = None
        #: Error, reason and time of the next attempt, as far as they were reported.
        self.why: Why = NO_REASON

    @property
    def bars(self) -> list[BarData]:
        """Bars of the task, as events carry them."""
        if isinstance(self._bars, str):
            unpacked: list[BarData] = json.loads(self._bars)
            return unpacked
        return self._bars

    @property
    def steps(self) -> list[StepData]:
        """Steps of its newest execution, as events carry them."""
        if isinstance(self._steps, str):
            unpacked: list[StepData] = json.loads(self._steps)
            return unpacked
        return self._steps

    @property
    def weight(self) -> int:
        """Lower bound of its size in bytes of JSON, as far as known without encoding it."""
        return len(self._bars) if isinstance(self._bars, str) else 0

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL

    @property
    def failed(self) -> bool:
        """Whether it ended without success."""
        return self.ended and self.state != "succeeded"

    @property
    def waiting(self) -> bool:
        """Whether it waits for its first run or for a retry."""
        return self.state in ("queued", "retrying")

    @property
    def incomplete(self) -> bool:
        """Whether events that it sent never arrived."""
        return bool(self.flags & INCOMPLETE)

    @property
    def stalled(self) -> bool:
        """Whether a server reported it as stalled, and no event of it came since."""
        return bool(self.flags & STALLED)

    @property
    def presumed(self) -> bool:
        """Whether its state is a server's verdict, which a later event or result overturns."""
        return bool(self.flags & PRESUMED)

    def place(self) -> Place:
        """Return its sort key in a snapshot's list: unfinished, failed, then succeeded tasks."""
        return (GROUPS.get(self.state, WENT_WRONG), self.order[0], self.task)

    def accepts(self, event: Event) -> bool:
        """Whether the event is new: not a duplicate, not from an older run, not after the end."""
        if event.verdict:
            # It has the order of the last event that had come when the server created it.
            if event.order < self.order:
                return False
            if self.ended:  # a stored result overturns what was presumed
                return self.presumed and event.terminal and event.type != self.state
            return not (event.type == "stalled" and self.stalled)
        if event.order <= self.order:
            return False
        same_run = event.run == self.order[0]
        # A second report of a task's end (by the worker's parent, for example) changes nothing.
        return self.presumed or not (self.ended and (same_run or event.terminal))

    def apply(self, event: Event) -> None:
        """Fold in an event that ``accepts`` returned True for."""
        self._place(event)
        if event.type == "stalled":
            self.flags |= STALLED
            return
        if event.type in BEGINS:
            self.note(event)
        self.flags &= INCOMPLETE
        if event.verdict and event.type in PRESUMABLE:
            self.flags |= PRESUMED
        before = self.state
        self.state = event.type if event.terminal else STATES.get(event.type, self.state)
        self.ended_at = event.at if event.terminal else None
        self.why = _why(event.data) if event.type in NO_BEGINNING else NO_REASON
        if event.type == "progress":
            self._bars = event.data.get("bars", NO_BARS)
            self.meta = event.data.get("meta", NOTHING)
            self.resumed = event.data.get("resumed")
            self._steps = event.data.get("steps", NO_STEPS)
            self.steps_omitted = event.data.get("steps_omitted", 0)
        elif self._steps and (event.type in NO_BEGINNING or before != "running"):
            self._steps = _steps_after(event, self.steps)
        if event.terminal:
            self._pack()

    def _pack(self) -> None:
        # A server holds many ended jobs, and as text their bars take a quarter of the memory.
        if self._bars and not isinstance(self._bars, str):
            self._bars = finite_json(self._bars)
        if self._steps and not isinstance(self._steps, str):
            self._steps = finite_json(self._steps)

    def note(self, event: Event) -> None:
        """Take the parent and the times from a ``queued`` or ``started`` event.

        A ``queued`` event may come after the task has started.
        """
        parent = event.data.get("parent")
        # A task that replaces itself names another task, or itself, when it starts again.
        if parent is not None and self.parent is None and self.started_at is None:
            self.parent = sys.intern(parent)
        if event.type == "started":
            self.started_at = event.at
        elif self.queued_at is None:
            self.queued_at = event.at

    def presume(self, state: str, at: float, why: Why) -> None:
        """Set the end that a server presumes.

        Args:
            state: how the task ended.
            at: seconds since the epoch.
            why: ``reason`` of the end; shared, never changed.
        """
        self.state, self.ended_at, self.why = state, at, why
        self.flags = (self.flags & INCOMPLETE) | PRESUMED

    def _place(self, event: Event) -> None:
        run, seq, _ = self.order
        attempt = self.attempt
        if event.run > run:
            self._bars, self.meta, self.resumed = NO_BARS, NOTHING, None
            if event.type not in NO_BEGINNING:
                attempt += event.run > 0
                self._steps, self.steps_omitted = NO_STEPS, 0
            # The first event of a run has seq 0, also one that a worker's parent sends.
            hole = event.seq > 0 or event.type == "progress"
        else:
            # Progress, and a verdict, has the number of the event before it, which must have come.
            hole = event.seq > seq + (event.type != "progress" and not event.verdict)
        self.flags |= hole * INCOMPLETE
        self.order = event.order
        # A redelivered task reports the same attempt as before, so its runs are counted, too.
        self.attempt = max(attempt, event.data.get("attempt", 0))

    def encode(self) -> TaskData:
        run, seq, tick = self.order
        told: TaskData = {
            "task": self.task,
            "name": self.name,
            "state": cast("JobState", self.state),
            "attempt": self.attempt,
            "bars": self.bars,
            "meta": self.meta,
            "resumed": self.resumed,
            "run": run,
            "seq": seq,
            "tick": tick,
            "incomplete": self.incomplete,
            "stalled": self.stalled,
            "presumed": self.presumed,
            "ended_at": self.ended_at,
            "error": self.why.get("error"),
            "reason": self.why.get("reason"),
            "retry_at": self.why.get("retry_at"),
        }
        if self._steps:
            told["steps"] = self.steps
        if self.steps_omitted:
            told["steps_omitted"] = self.steps_omitted
        return told

    @classmethod
    def decode(cls, data: TaskData) -> TaskState:
        task = cls(data["task"], data["name"])
        task.state, task.attempt, task._bars = data["state"], data["attempt"], data["bars"]
        task.meta, task.resumed = data["meta"], data.get("resumed")
        task._steps = data.get("steps", NO_STEPS)
        task.steps_omitted = data.get("steps_omitted", 0)
        task.order = (data["run"], data["seq"], data["tick"])
        task.flags = (
            data["incomplete"] * INCOMPLETE
            + data["stalled"] * STALLED
            + data["presumed"] * PRESUMED
        )
        task.ended_at = data["ended_at"]
        why = {"error": data["error"], "reason": data["reason"], "retry_at": data["retry_at"]}
        task.why = cast("Why", {name: told for name, told in why.items() if told is not None})
        return task


def end_of_steps(kind: EventType, data: JSONObject) -> Ending:
    """Return how the open steps of an execution end with an event of this type and data."""
    if kind == "retrying":
        return "lost" if data.get("error") is None else "failed"
    return cast("Ending", kind)


def _steps_after(event: Event, steps: list[StepData]) -> list[StepData]:
    """Return the steps of a task after an event that ends it, or shows that it runs all the same.

    Only ends that are those of the task are changed: a step's own end stands.
    """
    after = []
    for step in steps:
        if step["state"] == "running" or step.get("presumed"):
            step = step.copy()
            step.pop("presumed", None)
            step["state"], step["ended_at"] = "running", None
            if event.type in NO_BEGINNING:
                step["state"] = end_of_steps(event.type, event.data)
                step["ended_at"], step["presumed"] = event.at, True
        after.append(step)
    return after


def _why(data: JSONObject) -> Why:
    return cast("Why", {key: data[key] for key in WHY if key in data}) or NO_REASON
