"""How deeply JSON may be nested: bounds that hold on every Python, found out without recursion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.protocol.event import finite_json

__all__ = ["MAX_DEPTH", "MAX_MESSAGE_DEPTH", "is_deep", "may_be_deep", "shallow_json"]

#: Levels of lists and objects in a value that an application hands over: a task's arguments, its
#: result, its meta, the data of a push. A worker of the prefork pool pickles what it hands to its
#: processes; pickle raises RecursionError from 498 levels on with CPython 3.11 (750 with 3.12,
#: 5,000 with 3.13), less what the worker's own calls take of Python's recursion limit of 1,000.
MAX_DEPTH = 100
#: Levels in a whole message: a task's message also carries the tasks that follow it in a canvas,
#: which have arguments of their own.
MAX_MESSAGE_DEPTH = 2 * MAX_DEPTH

#: Most of what is in containers, told apart quickly.
SCALARS = frozenset((str, int, float, bool, type(None)))
CONTAINERS = (dict, list, tuple, set, frozenset)


def is_deep(value: Any, most: int = MAX_DEPTH) -> bool:
    """Return whether containers are nested more than ``most`` levels deep in a value.

    It takes time in proportion to the value's size, whatever refers to itself in it.
    """
    level = [value] if isinstance(value, CONTAINERS) else []
    for _ in range(most):
        if not level:
            return False
        # Each container once, however often it is referred to.
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
    brackets: Iterable[Any] = (b"[", b"{") if isinstance(text, bytes) else ("[", "{")
    return sum(map(text.count, brackets)) > most


def shallow_json(value: Any) -> str:
    """Return ``value`` as compact JSON.

    Raises:
        ValueError, TypeError: it is not JSON, has NaN or Infinity in it, or is nested more than
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
