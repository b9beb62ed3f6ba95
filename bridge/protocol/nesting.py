"""Limits on the nesting of JSON that hold on every Python version, checked without recursion."""

from __future__ import annotations

from bridge.protocol.event import finite_json

__all__ = ["MAX_DEPTH", "MAX_MESSAGE_DEPTH", "is_deep", "may_be_deep", "shallow_json"]

#: Maximum levels of lists and objects in a value from an application: a task's arguments, its
#: result, its meta, the data of a push. A prefork worker pickles messages to its pool processes;
#: pickle raises RecursionError from 498 levels on with CPython 3.11 (750 with 3.12, 5,000 with
#: 3.13), less the depth of the worker's own calls, under Python's recursion limit of 1,000.
MAX_DEPTH = 100
#: Maximum levels in a whole message: a task's message also carries the tasks that follow it in a
#: canvas, with their arguments.
MAX_MESSAGE_DEPTH = 2 * MAX_DEPTH

#: Types of most members of containers, for a check that is quicker than ``isinstance``.
SCALARS = frozenset((str, int, float, bool, type(None)))
CONTAINERS = (dict, list, tuple, set, frozenset)


def is_deep(value: object, most: int = MAX_DEPTH) -> bool:
    """Return whether containers are nested more than ``most`` levels deep in a value.

    The time is at most proportional to ``most`` times the value's size, even if the value contains
    itself.
    """
    level = [value] if isinstance(value, CONTAINERS) else []
    for _ in range(most):
        if not level:
            return False
        # Each container once per level, however often it is referenced.
        below = {
            id(part): part
            for one in level
            for part in (one.values() if isinstance(one, dict) else one)
            if type(part) not in SCALARS and isinstance(part, CONTAINERS)
        }
        level = list(below.values())
    return bool(level)


def may_be_deep(text: str | bytes, most: int = MAX_DEPTH) -> bool:
    """Return whether a JSON text has enough brackets to be nested more than ``most`` levels deep.

    This takes a microsecond where :func:`is_deep` would take a millisecond.
    """
    if isinstance(text, bytes):
        return text.count(b"[") + text.count(b"{") > most
    return text.count("[") + text.count("{") > most


def shallow_json(value: object) -> str:
    """Return ``value`` as compact JSON.

    Raises:
        ValueError, TypeError: it is not JSON, contains NaN or Infinity, or is nested more than
            ``MAX_DEPTH`` levels deep.
    """
    try:
        text = finite_json(value)
        deep = may_be_deep(text) and is_deep(value)
    except RecursionError:
        deep = True
    if deep:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    return text
