"""``check``: whether a JSON object is an event, field by field. Pure, no broker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TypeAlias, TypeGuard, get_args

from bridge.errors import EventError
from bridge.identifiers import MAX_CHARACTERS, is_encodable
from bridge.protocol.json_types import Ending, EventType, JSONObject

__all__ = ["check", "is_counter", "is_identifier", "is_number"]

#: Types that an event may have, and types of ends that an event may count.
_TYPES: frozenset[str] = frozenset(get_args(EventType))
_ENDS: frozenset[str] = frozenset(get_args(Ending))
_STEP_STATES = {"running", *_ENDS}
#: Largest number that a float holds.
MAX_NUMBER = sys.float_info.max
#: Numbers of a bar that may be unknown.
_UNSURE = ("total", "rate", "eta")
#: Texts of a bar.
_TEXTS = ("desc", "unit", "postfix")


def check(message: JSONObject) -> None:
    """Check the fields of an event, and those of its data; ``v`` is not checked.

    Args:
        message: the JSON object. Fields that the protocol does not name are left alone.

    Raises:
        EventError: it is not an event; the message names the field.
    """
    if not _is_sound(message):
        for name, allows in _CHECKS.items():
            if not allows(message.get(name)):
                raise EventError(f"an event's {name} is missing or not what the protocol allows")
    data = message["data"]
    for name in data:
        if (allows_data := _DATA_CHECKS.get(name)) is not None and not allows_data(data[name]):
            raise EventError(f"an event's data.{name} is not what the protocol allows")


def _is_sound(message: JSONObject) -> bool:
    """Whether all fields have their usual types and values; otherwise ``_CHECKS`` decide.

    A server checks each event; this takes a third of the time of ``_CHECKS``.
    """
    try:
        job, task, name, owner = message["job"], message["task"], message["name"], message["owner"]
        run, seq, tick = message["run"], message["seq"], message["tick"]
        at, data = message["at"], message["data"]
        return (
            type(job) is type(task) is type(name) is str
            and 0 < len(job) <= MAX_CHARACTERS
            and 0 < len(task) <= MAX_CHARACTERS
            and len(name) <= MAX_CHARACTERS
            and (owner is None or (type(owner) is str and 0 < len(owner) <= MAX_CHARACTERS))
            and job.isascii()
            and task.isascii()
            and name.isascii()
            and (owner is None or owner.isascii())
            and message["type"] in _TYPES
            and type(run) is type(seq) is type(tick) is int
            and 0 <= run < 2**63
            and 0 <= seq < 2**63
            and 0 <= tick < 2**63
            and type(at) is float
            and 0 <= at < 2**53
            and type(data) is dict
            and _has_names(data)
        )
    except (KeyError, TypeError):
        return False


def _has_names(value: Iterable[object]) -> bool:
    for key in value:  # noqa: SIM110 - a generator takes twice as long
        if type(key) is not str:
            return False
    return True


def is_identifier(value: object) -> TypeGuard[str]:
    """Whether a value is a string of 1 to 255 characters, as ids and owners are."""
    return _short(value) and len(value) > 0


def _short(value: object) -> TypeGuard[str]:
    # Control characters are accepted here: older services did not refuse owners with them.
    return isinstance(value, str) and len(value) <= MAX_CHARACTERS and is_encodable(value)


def is_counter(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number from 0 to 2**63 - 1."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _object(value: object) -> TypeGuard[JSONObject]:
    return isinstance(value, dict) and _has_names(value)


#: Whether a field may have a value.
Check: TypeAlias = Callable[[object], bool]

_CHECKS: dict[str, Check] = {
    "job": is_identifier,
    "task": is_identifier,
    "type": lambda value: isinstance(value, str) and value in _TYPES,
    "at": lambda value: is_number(value) and 0 <= value < 2**53,
    "name": _short,
    "owner": lambda value: value is None or is_identifier(value),
    "run": is_counter,
    "seq": is_counter,
    "tick": is_counter,
    "data": _object,
}


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _bar(value: object) -> bool:
    if not (_object(value) and is_counter(value.get("position")) and is_number(value.get("n"))):
        return False
    for name in _UNSURE:
        if (number := value.get(name)) is not None and not is_number(number):
            return False
    for name in _TEXTS:
        if not isinstance(value.get(name, ""), str):
            return False
    return is_number(value.get("elapsed", 0)) and _number_or_none(value.get("step"))


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number within the range of a float; NaN is not."""
    return (type(value) is float or type(value) is int) and -MAX_NUMBER <= value <= MAX_NUMBER


def _line(value: object) -> bool:
    if not (_object(value) and isinstance(value.get("message"), str)):
        return False
    return _number_or_none(value.get("step"))


def _number_or_none(value: object) -> bool:
    return value is None or is_counter(value)


def _step(value: object) -> bool:
    if not (_object(value) and is_counter(value.get("id")) and isinstance(value.get("name"), str)):
        return False
    state, ended_at = value.get("state"), value.get("ended_at")
    if not (isinstance(state, str) and state in _STEP_STATES):
        return False
    if not (is_number(value.get("started_at")) and isinstance(value.get("presumed", False), bool)):
        return False
    return _number_or_none(value.get("parent")) and (ended_at is None or is_number(ended_at))


def _step_names(value: object) -> bool:
    return _object(value) and all(isinstance(name, str) for name in value.values())


def _chunk(value: object) -> bool:
    return isinstance(value, str) or (_object(value) and isinstance(value.get("base64"), str))


#: Maximum count, for each type of end, of a job's ends that an event reports as dropped.
MAX_ENDS = 10_000_000
#: Counters of an emitter: those of all versions, and those that version 0.1.0 does not send.
_COUNTERS = ("pid", "published", "failures", "dropped")
_NEWER_COUNTERS = ("held", "dropped_pushes", "dropped_events", "dropped_ends", "shortened_ends")


def _emitter(value: object) -> bool:
    if not (_object(value) and is_identifier(value.get("host")) and is_number(value.get("since"))):
        return False
    if not all(is_counter(value.get(name)) for name in _COUNTERS):
        return False
    return all(is_counter(value.get(name, 0)) for name in _NEWER_COUNTERS)


def _ends(value: object) -> bool:
    if not isinstance(value, dict) or not value.keys() <= _ENDS:
        return False
    return all(is_counter(count) and count <= MAX_ENDS for count in value.values())


def _resumed(value: object) -> bool:
    if not (_object(value) and is_number(value.get("at"))):
        return False
    share = value.get("share")
    return share is None or (is_number(share) and 0 <= share <= 1)


#: Checks of the fields of an event's data that servers and clients compute with.
_DATA_CHECKS: dict[str, Check] = {
    "title": is_identifier,
    "parent": lambda value: value is None or is_identifier(value),
    "again_of": lambda value: value is None or is_identifier(value),
    "total": is_counter,
    "more": is_counter,
    "dropped": is_counter,
    "attempt": is_counter,
    "replaced": is_counter,
    "redelivered": lambda value: isinstance(value, bool),
    "redelivered_within": lambda value: is_number(value) and value >= 0,
    "bars": _list_of(_bar),
    "lines": _list_of(_line),
    "chunks": _list_of(_chunk),
    "chunk_steps": _list_of(_number_or_none),
    "step_names": _step_names,
    "steps": _list_of(_step),
    "steps_omitted": is_counter,
    "meta": _object,
    "saved": is_number,
    "resumed": _resumed,
    "error": _object,
    "reason": lambda value: isinstance(value, str),
    "queue": lambda value: value is None or is_identifier(value) or _object(value),
    "expires_at": lambda value: value is None or is_number(value),
    "retry_at": lambda value: value is None or is_number(value),
    "emitter": _emitter,
    "unreported": _ends,
    "webhook": is_identifier,
}
