"""``SizeBudget``: limits a snapshot to a number of bytes of JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar, cast

from bridge.protocol.event import MAX_LOG_BYTES, MAX_META_BYTES, MAX_RESULT_BYTES, cut, finite_json
from bridge.protocol.json_types import BarData, JSONObject, StepData, TaskData

if TYPE_CHECKING:
    from bridge.protocol.task_state import TaskState, Why

T = TypeVar("T")
Told = TypeVar("Told", bound=Mapping[str, object])

__all__ = ["SizeBudget", "shorter", "size"]

#: Maximum bytes of JSON of an error, of a reason, and of a traceback, whose last lines are kept.
MAX_ERROR_BYTES, MAX_REASON_BYTES, MAX_TRACEBACK_BYTES = 12 * 1024, 1024, 4 * 1024
#: Bytes of JSON of a bar beyond which its texts are cut, and the maximum of each text then.
MAX_BAR_BYTES, MAX_TEXT_BYTES = 2 * 1024, 480
#: Bytes of JSON of a task's list of steps beside the steps, and of the number of omitted ones.
LIST_BYTES = 52
BAR_TEXTS = ("desc", "unit", "postfix")
BAR_NUMBERS = ("position", "unit_scale", "n", "total", "rate", "eta", "elapsed", "closed", "step")


class SizeBudget:
    """The bytes left in a snapshot; each method returns the part that fits, and subtracts its size.

    Args:
        most: maximum bytes of JSON of the snapshot; None for no limit: all parts are kept.
        fixed: part of the snapshot that is kept in any case.
    """

    def __init__(self, most: int | None, fixed: object) -> None:
        self._bound = most is not None
        self._left = 0 if most is None else most - size(fixed)

    def _take(self, part: T) -> T:
        self._left -= size(part)
        return part

    def outcome(self, told: Told) -> Told:
        """Return a job's outcome: a result that is too large is left out, an error is cut."""
        return self._take(shorter(told)) if self._bound else told

    def meta(self, meta: JSONObject) -> JSONObject:
        """Return the meta of tasks; if it is too large, the entries added last."""
        if not self._bound:
            return meta
        return self._take(_newest(meta, min(MAX_META_BYTES, self._left)))

    def bars(self, bars: list[BarData]) -> list[BarData]:
        """Return the bars to draw; if they are too large, the first ones in half the bytes left."""
        return self._take(_first(bars, self._left // 2)) if self._bound else bars

    def tasks(self, tasks: Iterable[TaskState]) -> list[TaskData]:
        """Return encoded tasks, the first ones that fit; the very first may be shortened.

        What is left then is for their steps, the newest of each, those of the first tasks first.
        """
        if not self._bound:
            return [task.encode() for task in tasks]
        listed: list[TaskData] = []
        steps: list[list[StepData]] = []
        for task in tasks:
            if task.weight > self._left and listed:
                break
            encoded = task.encode()
            own = encoded.pop("steps", [])
            more = 1 + (LIST_BYTES if own else 0)  # a comma, and its list of steps
            if size(encoded) + more > self._left:
                encoded = self._cut(encoded, more)
                if listed or size(encoded) + more > self._left:
                    break
            listed.append(encoded)
            steps.append(own)
            self._left -= size(encoded) + more
        for encoded, own in zip(listed, steps, strict=True):
            if own:
                self._add_steps(encoded, own)
        return listed

    def _add_steps(self, task: TaskData, steps: list[StepData]) -> None:
        kept = _last(steps, self._left)
        if kept:
            task["steps"] = self._take(kept)
        if len(kept) < len(steps):
            task["steps_omitted"] = task.get("steps_omitted", 0) + len(steps) - len(kept)

    def _cut(self, task: TaskData, more: int) -> TaskData:
        told: Why = {"error": task["error"], "reason": task["reason"]}
        why = shorter(told)
        short, bars = task.copy(), task["bars"]
        short["error"], short["reason"] = why["error"], why["reason"]
        short["meta"], short["bars"] = _newest(task["meta"], MAX_META_BYTES), []
        short["bars"] = _first(bars, self._left - size(short) - more)
        return short


def size(value: object) -> int:
    """Return the size of a value in bytes of JSON."""
    return len(finite_json(value))


def _first(bars: list[BarData], most: int) -> list[BarData]:
    taken: list[BarData] = []
    for bar in bars:
        length = size(bar)
        if length > MAX_BAR_BYTES:
            bar = _shorter_bar(bar)
            length = size(bar)
        most -= length + 1
        if most < 0:
            break
        taken.append(bar)
    return taken


def _last(steps: list[StepData], most: int) -> list[StepData]:
    taken: list[StepData] = []
    for step in reversed(steps):
        most -= size(step) + 1
        if most < 0:
            break
        taken.append(step)
    return taken[::-1]


def _shorter_bar(bar: BarData) -> BarData:
    fields: Mapping[str, object] = bar
    told = {name: fields[name] for name in BAR_TEXTS if name in fields}
    texts = {name: cut(str(text), MAX_TEXT_BYTES) for name, text in told.items()}
    known = [name for name in BAR_NUMBERS if name in fields and _small(fields[name])]
    return cast("BarData", {**{name: fields[name] for name in known}, **texts})


def _small(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _newest(meta: JSONObject, most: int) -> JSONObject:
    if size(meta) <= most:
        return meta
    kept: list[str] = []
    for name in reversed(meta):
        most -= size({name: meta[name]})
        if most < 0:
            break
        kept.append(name)
    return {name: meta[name] for name in reversed(kept)}


def shorter(outcome: Told) -> Told:
    """Return an outcome, or a whole snapshot, with result, error and reason of limited size."""
    told = dict(outcome)
    if "result" in told and size(told["result"]) > MAX_RESULT_BYTES:
        del told["result"]
        told["result_omitted"] = True
    elif "result_omitted" in told:
        told["result_omitted"] = bool(told["result_omitted"])
    if isinstance(error := told.get("error"), dict) and size(error) > MAX_ERROR_BYTES:
        texts = {name: text for name, text in error.items() if isinstance(text, str)}
        parts = {"class": MAX_TEXT_BYTES, "message": min(MAX_LOG_BYTES, MAX_ERROR_BYTES // 2)}
        short = {name: cut(texts[name], most) for name, most in parts.items() if name in texts}
        if "traceback" in texts:
            short["traceback"] = cut(texts["traceback"][::-1], MAX_TRACEBACK_BYTES)[::-1]
        told["error"] = short
    if isinstance(reason := told.get("reason"), str):
        told["reason"] = cut(reason, MAX_REASON_BYTES)
    return cast("Told", told)
