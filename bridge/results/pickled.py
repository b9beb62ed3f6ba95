"""Reads the plain data of a pickle without unpickling it.

Celery before 5.7 stores all results in a database as pickles. ``pickle.loads`` would import and
call what a row names; this module imports and calls nothing. A value that is not plain data is
replaced by :data:`OBJECT`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from pickletools import OpcodeInfo

__all__ = ["OBJECT", "plain"]


class _Object:
    """Placeholder of a value that is not plain data; it cannot be encoded as JSON."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "OBJECT"


OBJECT = _Object()
_MARK = object()

#: Opcodes whose argument is the value.
_VALUES = frozenset(
    [
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    ]
)
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
#: Tuples of a fixed length.
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = frozenset(("PROTO", "FRAME", "STOP"))
#: Types of the keys that JSON can have.
_KEYS = (str, int, float, type(None))


def plain(data: bytes) -> object:
    """Return the value of a pickle, with :data:`OBJECT` for each part that is not plain data.

    Args:
        data: the pickle; reading it takes some microseconds a byte at most.

    Raises:
        ValueError: the data is not a pickle.
    """
    stack, memo = _Stack(), dict[object, object]()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            _step(stack, memo, opcode, argument)
        [value] = stack
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is no pickle ({type(error).__name__})") from None
    return value


class _Stack(list[object]):
    def since_mark(self) -> list[object]:
        """Remove and return what was pushed after the last mark, and remove the mark."""
        at = len(self) - 1
        while self[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("no mark")
        values = self[at + 1 :]
        del self[at:]
        return values

    def last(self, count: int) -> list[object]:
        """Remove and return the last ``count`` values."""
        if count > len(self):
            raise IndexError("too few values")
        values = self[len(self) - count :]
        del self[len(self) - count :]
        return values


def _step(stack: _Stack, memo: dict[object, object], opcode: OpcodeInfo, argument: object) -> None:
    name = opcode.name
    if name in _VALUES:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name]())
    elif name in _TUPLES:
        stack.append(tuple(stack.last(_TUPLES[name])))
    elif name in _STEPS:
        _STEPS[name](stack)
    elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name not in _NOTHING:
        _object(stack, opcode)


def _object(stack: _Stack, opcode: OpcodeInfo) -> None:
    """Pop and push what an opcode that makes or changes an object does, with ``OBJECT``."""
    below = opcode.stack_before
    if pickletools.markobject in below:
        stack.since_mark()
        below = below[: below.index(pickletools.markobject)]
    stack.last(len(below))
    stack.extend(OBJECT for _ in opcode.stack_after)


def _add(stack: _Stack, values: list[object]) -> None:
    if isinstance(into := stack[-1], list):
        into.extend(values)


def _set(stack: _Stack, values: list[object]) -> None:
    if isinstance(into := stack[-1], dict):
        # Other keys are not JSON, and may take exponential time to hash: a tuple that holds a
        # second one twice, which holds a third one twice, and so on.
        keys = (key if isinstance(key, _KEYS) else OBJECT for key in values[::2])
        into.update(zip(keys, values[1::2], strict=True))


def _new_dict(stack: _Stack) -> None:
    values = stack.since_mark()
    stack.append({})
    _set(stack, values)


_STEPS: dict[str, Callable[[_Stack], object]] = {
    "MARK": lambda stack: stack.append(_MARK),
    "POP": lambda stack: stack.pop(),
    "POP_MARK": lambda stack: stack.since_mark(),
    "DUP": lambda stack: stack.append(stack[-1]),
    "TUPLE": lambda stack: stack.append(tuple(stack.since_mark())),
    "LIST": lambda stack: stack.append(stack.since_mark()),
    "DICT": _new_dict,
    "APPEND": lambda stack: _add(stack, stack.last(1)),
    "APPENDS": lambda stack: _add(stack, stack.since_mark()),
    "SETITEM": lambda stack: _set(stack, stack.last(2)),
    "SETITEMS": lambda stack: _set(stack, stack.since_mark()),
}
