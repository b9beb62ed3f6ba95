"""Rows and lines of the steps of tasks: ``step_rows`` at a terminal, ``StepLines`` in a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from bridge.cli.format import duration
from bridge.protocol.event import TERMINAL
from bridge.protocol.json_types import BarData, JobEvent, StepData
from bridge.protocol.snapshot import Snapshot
from bridge.protocol.task_state import TaskState

__all__ = ["Row", "StepLines", "nested", "step_rows"]

#: Rows of steps that are drawn of a task at most; of more, the oldest that have ended are left out.
MAX_ROWS = 12
#: Lines of steps with the same name and the same steps around them that are printed at most, but
#: for failures.
MAX_ALIKE = 10
#: Names, with those of the steps around them, of which lines are counted at most.
MAX_PATHS = 10_000
#: Types of events after which steps may be others.
NEWS = TERMINAL | {"progress", "retrying"}


class Row(NamedTuple):
    """A row at a terminal: a bar, a step or a note, and how deep it is nested."""

    depth: int = 0
    bar: BarData | None = None
    step: StepData | None = None
    note: str = ""


def nested(steps: list[StepData]) -> Iterator[tuple[int, StepData]]:
    """Yield steps with their depths, each after the one that it is a part of.

    A step whose outer step does not come before it in the list is one of the task itself.
    """
    known: set[int] = set()
    parts: dict[int | None, list[StepData]] = {}
    for step in steps:
        parts.setdefault(step["parent"] if step["parent"] in known else None, []).append(step)
        known.add(step["id"])
    left = [(0, step) for step in reversed(parts.pop(None, []))]
    while left:
        depth, step = left.pop()
        yield depth, step
        left += [(depth + 1, one) for one in reversed(parts.pop(step["id"], []))]


def step_rows(snapshot: Snapshot) -> list[Row]:
    """Return the rows of a job: its bars, then its steps, each with its own bars."""
    rows = [Row(bar["position"], bar) for bar in snapshot.bars if bar.get("step") is None]
    for task in snapshot.drawn:
        rows += _of_task(task)
    return rows


def _of_task(task: TaskState) -> Iterator[Row]:
    shown, left = _shown(task.steps)
    bars = [bar for bar in task.bars if bar.get("step") is not None]
    for depth, step in shown:
        yield Row(depth, step=step)
        yield from (Row(depth + 1, bar) for bar in bars if bar["step"] == step["id"])
    drawn = {step["id"] for _, step in shown}
    yield from (Row(bar["position"], bar) for bar in bars if bar["step"] not in drawn)
    if left := left + task.steps_omitted:
        yield Row(note=f"and {left:,} more {'step' if left == 1 else 'steps'}")


def _shown(steps: list[StepData]) -> tuple[list[tuple[int, StepData]], int]:
    """Return the steps to draw, without parts of those that succeeded, and how many are left."""
    rows: list[tuple[int, StepData]] = []
    folded: int | None = None
    for depth, step in nested(steps):
        if folded is None or depth <= folded:
            folded = depth if step["state"] == "succeeded" else None
            rows.append((depth, step))
    ended = [row for row in rows if row[1]["state"] != "running"]
    spare = ended[: max(0, len(rows) - MAX_ROWS)]
    return [row for row in rows if row not in spare], len(spare)


class StepLines:
    """Turns the steps of tasks into lines: one where a step begins, one where it ends."""

    def __init__(self) -> None:
        #: Execution of each task, and the states of its steps that were printed, by number.
        self._known: dict[str, tuple[int, dict[int, str]]] = {}
        self._alike: Counter[str] = Counter()

    def of(self, event: JobEvent, snapshot: Snapshot) -> Iterator[str]:
        """Yield the lines of what an event tells of the steps of its task."""
        task = snapshot.task(event["task"])
        if event["type"] not in NEWS or task is None:
            return
        run, known = self._known.get(task.task, (-1, {}))
        if run != task.order[0]:
            known = {}
        path: list[str] = []
        found: list[tuple[float, int, str]] = []
        for depth, step in nested(task.steps):
            path = [*path[:depth], step["name"]]
            if (before := known.get(step["id"], "")) != step["state"]:
                line, ended_at = (
                    self._line(" / ".join(path), step, new=not before),
                    step["ended_at"],
                )
                # A step ends after its parts, and begins before them.
                at = (step["started_at"], depth) if ended_at is None else (ended_at, -depth)
                found += [(*at, one) for one in line]
        yield from (line for _, _, line in sorted(found))
        states = {step["id"]: str(step["state"]) for step in task.steps}
        self._known[task.task] = task.order[0], states

    def _line(self, path: str, step: StepData, *, new: bool) -> Iterator[str]:
        if len(self._alike) > MAX_PATHS:
            self._alike.clear()
        self._alike[path] += new
        most = self._alike[path] - MAX_ALIKE
        if most > 0 and step["state"] in ("running", "succeeded"):
            if most == 1 and new:
                yield f"step {path}: no further ones are shown, unless they fail"
        elif step["state"] == "running":
            yield f"step {path}"
        else:
            took = duration((step["ended_at"] or step["started_at"]) - step["started_at"])
            yield f"step {path}: {step['state']} after {took}"
