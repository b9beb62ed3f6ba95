"""``encoded``: the JSON of a state, in a microsecond, since a task may checkpoint in each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from json import encoder
from typing import TypeAlias

from bridge.checkpoints.records import MAX_STATE_BYTES
from bridge.protocol.event import finite_json
from bridge.protocol.nesting import MAX_DEPTH, is_deep, may_be_deep

__all__ = ["encoded"]

#: Returns the parts of a value's JSON; the second argument is the level at which it begins.
Encode: TypeAlias = Callable[[object, int], Iterable[str]]


def _refuse(value: object) -> object:
    raise TypeError(f"that is not JSON is not stored: it has a {type(value).__name__}")


def _quick() -> Encode:
    """Return an encoder that is made once: ``json`` makes one a call, in twice the time."""
    try:
        make, quote = vars(encoder)["c_make_encoder"], encoder.encode_basestring_ascii
        encode: Encode = make(None, _refuse, quote, None, ":", ",", False, False, False)
        assert "".join(encode({"a": [1]}, 0)) == '{"a":[1]}'
    except Exception:  # noqa: BLE001 - another Python's, or none, as in PyPy
        return lambda value, _: (finite_json(value),)
    return encode


_parts = _quick()


def encoded(state: object) -> str:
    """Return a state as JSON.

    Raises:
        TypeError, ValueError, RecursionError: it is not JSON, contains NaN or Infinity, is nested
            more than ``MAX_DEPTH`` levels deep, or takes more than 64 KiB.
    """
    try:
        text = "".join(_parts(state, 0))
    except RecursionError:
        raise ValueError(f"nested over {MAX_DEPTH} levels deep is not stored") from None
    except ValueError:
        raise ValueError("with NaN or Infinity is not stored") from None
    if len(text) > MAX_DEPTH:
        if len(text) > MAX_STATE_BYTES:
            raise ValueError(f"of {len(text):,} bytes of JSON is not stored: 64 KiB are the limit")
        if may_be_deep(text) and is_deep(state):
            raise ValueError(f"nested over {MAX_DEPTH} levels deep is not stored")
    return text
