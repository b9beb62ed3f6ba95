"""Reads the ``meta`` of Celery's ``update_state`` as a bar, with the keys that people use."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from celery import states

from bridge.protocol.json_types import BarData
from bridge.reporting.meter import Meter, Reading, finite

__all__ = ["StateMeta", "bar_of", "is_progress", "read"]

#: Keys of Celery's documentation, celery-progress and tutorials; of several, the first is used.
DONE = ("current", "done", "completed", "processed", "i", "n")
TOTAL = ("total", "max")
PERCENT = ("percent", "percentage", "progress")
TEXT = ("description", "desc", "message", "status")
#: Key of celery-progress that says nothing of a task which runs.
PENDING = "pending"


class StateMeta(NamedTuple):
    """What a ``meta`` says."""

    #: None if it has neither a number nor a text.
    bar: Reading | None
    #: Everything else in it, by name.
    facts: dict[str, object]


def is_progress(state: object) -> bool:
    """Whether a state is a task's own, such as PROGRESS, and not one of Celery's."""
    return state not in states.ALL_STATES


def read(meta: object) -> StateMeta:
    """Return what the ``meta`` of a task's own state says; nothing for what is no dict or text."""
    if isinstance(meta, str):
        return StateMeta(Reading(0, desc=meta), {})
    if not isinstance(meta, Mapping):
        return StateMeta(None, {})
    # The number of done units may be called progress, too.
    shared = DONE if _first(meta, TOTAL) is None else (*DONE, "progress")
    done, total, percent = (_first(meta, keys) for keys in (shared, TOTAL, PERCENT))
    text = next((key for key in TEXT if _is_text(meta.get(key))), None)
    used = {text, PENDING, *(key for key in PERCENT if _number(meta.get(key)) is not None)}
    desc = "" if text is None else meta[text]
    if percent is not None and (done is None or total is None):
        bar: Reading | None = Reading(_percent(percent, meta[percent]), 100, desc, unit="%")
    elif done is None and total is None:
        bar = None if text is None else Reading(0, desc=desc)
    else:
        used |= {done, total}
        bar = Reading(_value(meta, done) or 0, _value(meta, total), desc)
    return StateMeta(bar, {str(key): value for key, value in meta.items() if key not in used})


def bar_of(meta: object) -> BarData | None:
    """Return the bar of a stored ``meta`` as an event has it; None without a bar."""
    reading = read(meta).bar
    return None if reading is None else Meter(lambda: reading).sample(0)


def _first(meta: Mapping[object, object], keys: Collection[str]) -> str | None:
    return next((key for key in keys if _number(meta.get(key)) is not None), None)


def _value(meta: Mapping[object, object], key: str | None) -> float | None:
    return None if key is None else _number(meta[key])


def _number(value: object) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    return finite(value.rstrip("% ") if isinstance(value, str) else value)  # type: ignore[arg-type]


def _percent(key: str, value: object) -> float:
    """Return percent; a ``progress`` that is a float of 0 to 1 is a share."""
    number = _number(value) or 0
    is_share = key == "progress" and isinstance(value, float) and 0 <= number <= 1
    return number * 100 if is_share else number


def _is_text(value: object) -> bool:
    # A translated text of Django is an object of another class, and has the methods of a text.
    return isinstance(value, str) or (hasattr(value, "strip") and not isinstance(value, bytes))
