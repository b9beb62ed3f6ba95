"""``Steps``: the named parts of a run, which ``job.step`` begins and ends, bounded in number."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple, cast

from bridge.protocol.event import cut, finite_json
from bridge.protocol.json_types import Ending, JSONObject, StepData, StepState
from bridge.reporting.meter import MAX_TEXT, MAX_TEXT_BYTES

__all__ = ["MAX_STEPS", "MAX_STEPS_BYTES", "NO_STEPS", "Label", "Step", "Steps"]

#: Steps of one run that are listed at most: as many as a person can follow.
MAX_STEPS = 32
#: Bytes of JSON of the steps that are listed at most: beside the bars, they must fit an event.
MAX_STEPS_BYTES = 5 * 1024
#: Bytes of JSON of a step beside its name, at most.
STEP_BYTES = 136
#: Bits of a number within a process, which follow the process's id in the number of a child's step.
CHILD_BITS = 31


class Label(NamedTuple):
    """What a line and a bar keep of the step that they belong to."""

    id: int
    name: str


class Step:
    """A step of a run that is listed.

    Args:
        steps: the steps of the run.
        label: number and name.
        outer: the step that it is a part of; None for a part of the task itself.
        size: bytes of JSON that it takes, at most.
    """

    __slots__ = ("began", "depth", "ended_at", "label", "outer", "parent", "size", "started_at",
                 "state", "steps")  # fmt: skip

    def __init__(self, steps: Steps, label: Label, outer: Step | None, size: int) -> None:
        self.steps, self.label, self.outer, self.size = steps, label, outer, size
        self.state: StepState = "running"
        self.depth: int = 0 if outer is None else outer.depth + 1
        self.parent = None if outer is None else outer.label.id
        #: Seconds since the epoch, and the moment by the run's clock.
        self.started_at, self.began = time.time(), steps.clock()
        self.ended_at: float | None = None

    def end(self, state: Ending) -> None:
        """Note how it ended; a step that has ended stays as it is."""
        self.steps.end(self, state)

    def encode(self) -> StepData:
        """Return it as a step of a ``progress`` event."""
        return {
            "id": self.label.id,
            "parent": self.parent,
            "name": self.label.name,
            "state": self.state,
            "started_at": round(self.started_at, 3),
            "ended_at": None if self.ended_at is None else round(self.ended_at, 3),
        }


#: The innermost step of the calling code; it may have ended, or be that of an earlier run.
_innermost: ContextVar[Step | None] = ContextVar("taskbridge_step", default=None)
#: What :meth:`Steps.sample` returns for a run without steps.
NO_STEPS: JSONObject = {}


class Steps:
    """The steps of a run. Any thread begins and ends them, and the sender thread samples them.

    Beyond the bounds, steps that have ended are left out of the list, those nested deepest first,
    and of these the oldest. A step that begins while all that are listed are open is not listed;
    what it reports belongs to the step around it.

    Args:
        clock: monotonic seconds.
        thread: identifier of the run's own thread.
        child: process id of a forked child, of which the numbers of its steps are made; default 0.
        base: step in which a forked child begins; None outside of one.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        thread: int,
        child: int = 0,
        base: Step | None = None,
    ) -> None:
        self.clock = clock
        #: Called after each change; None if a sender samples the steps.
        self.on_change: Callable[[Steps], None] | None = None
        self._thread = thread
        # Reentrant: a signal handler of the task may begin a step.
        self._lock = threading.RLock()
        self._before, self._count = child << CHILD_BITS, 0
        #: The step that began last in the run's own thread.
        self._main = self._base = base
        self._listed: dict[int, Step] = {}
        #: Listed steps that have ended, by depth, oldest first.
        self._ended: list[deque[Step]] = []
        self._bytes = 0
        #: Number of listed steps that are open.
        self.open = 0
        #: Numbers of the listed steps of each forked child, and how many it has begun.
        self._children: dict[int, tuple[frozenset[int], int]] = {}
        self._sample: JSONObject | None = NO_STEPS

    def current(self) -> Step | None:
        """Return the innermost open step of the calling code; None outside of any.

        A thread that the task has started has an empty context; it is in the step in which the
        run's own thread is.
        """
        step = _innermost.get()
        if step is None or step.steps is not self:
            step = self._base if threading.get_ident() == self._thread else self._main
        while step is not None and step.state != "running":
            step = step.outer  # as of a generator that was left before the one around it
        return step

    def label(self) -> Label | None:
        """Return the label of the calling code's innermost open step; None outside of any."""
        step = self.current()
        return None if step is None else step.label

    def begin(self, name: object) -> Step | None:
        """Begin a step in the calling code; return None if it is not listed.

        Args:
            name: text of at most 200 characters; a longer one is cut.
        """
        outer, text = self.current(), _text(name)
        with self._lock:
            self._count += 1
            self._sample = None
            label = Label(self._before + self._count, text)
            step = Step(self, label, outer, len(finite_json(text)) + STEP_BYTES)
            listed = self._list(step)
        if listed:
            _innermost.set(step)
            if threading.get_ident() == self._thread:
                self._main = step
        self._changed()
        return step if listed else None

    def end(self, step: Step, state: Ending) -> None:
        """Note how a step ended, and leave it if the calling code is in it."""
        with self._lock:
            if step.state == "running":
                # By the monotonic clock: the system's may be set meanwhile.
                step.ended_at = step.started_at + max(0.0, self.clock() - step.began)
                step.state = state
                self._note_end(step)
        if _innermost.get() is step:
            _innermost.set(step.outer)
        self._changed()

    def close(self, state: Ending) -> None:
        """End all open steps: the task has ended."""
        for step in [one for one in list(self._listed.values()) if one.state == "running"]:
            self.end(step, state)

    def sample(self) -> JSONObject:
        """Return the fields of a ``progress`` event; the same object while nothing changes."""
        if (sample := self._sample) is None:
            with self._lock:
                begun = self._count + sum(count for _, count in self._children.values())
                omitted = begun - len(self._listed)
                steps = [step.encode() for step in self._listed.values()]
                more = {"steps_omitted": omitted} if omitted else {}
                self._sample = sample = {"steps": steps, **more}
        return sample

    def take(self, child: int, sample: JSONObject) -> None:
        """List the steps that a forked child has sampled, in place of those before."""
        steps = cast("list[StepData]", sample.get("steps", []))
        count = len(steps) + cast("int", sample.get("steps_omitted", 0))
        with self._lock:
            known, _ = self._children.get(child, (frozenset(), 0))
            ids = frozenset(step["id"] for step in steps)
            self._children[child] = ids, count
            for number in known - ids:
                self._unlist(number)
            for step in steps:
                self._adopt(step)
            self._sample = None
        self._changed()

    def lose(self, child: int) -> None:
        """End the open steps of a forked child that has exited as lost."""
        ids, _ = self._children.get(child, (frozenset(), 0))
        for step in [self._listed[one] for one in ids if one in self._listed]:
            self.end(step, "lost")

    def _adopt(self, data: StepData) -> None:
        step = self._listed.get(data["id"])
        if step is None:
            outer, label = self._listed.get(data["parent"] or 0), Label(data["id"], data["name"])
            step = Step(self, label, outer, len(finite_json(label.name)) + STEP_BYTES)
            step.parent = data["parent"]
            step.began += data["started_at"] - step.started_at
            step.started_at = data["started_at"]
            if not self._list(step):
                return
        if data["state"] != "running" and step.state == "running":
            step.state, step.ended_at = data["state"], data["ended_at"]
            self._note_end(step)

    def _list(self, step: Step) -> bool:
        while len(self._listed) >= MAX_STEPS or self._bytes + step.size > MAX_STEPS_BYTES:
            ended = next((queue for queue in reversed(self._ended) if queue), None)
            if ended is None:
                return False
            self._unlist(ended[0].label.id)
        self._listed[step.label.id] = step
        self._bytes += step.size
        self.open += 1
        return True

    def _unlist(self, number: int) -> None:
        if (step := self._listed.pop(number, None)) is not None:
            self._bytes -= step.size
            if step.state == "running":
                self.open -= 1
            else:
                self._ended[step.depth].remove(step)

    def _note_end(self, step: Step) -> None:
        self._sample = None
        if step.label.id in self._listed:
            self.open -= 1
            while len(self._ended) <= step.depth:
                self._ended.append(deque())
            self._ended[step.depth].append(step)

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change(self)


def _text(name: object) -> str:
    try:
        return cut(str(name)[:MAX_TEXT], MAX_TEXT_BYTES)
    except Exception:  # noqa: BLE001 - __str__ of the application's class
        return ""
