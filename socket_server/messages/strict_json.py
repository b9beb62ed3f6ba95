"""JSON that every program can read: without NaN and Infinity, and not nested without end."""

from __future__ import annotations

import json
import math
from typing import Any

from engineio import json as engineio_json

from bridge.protocol.nesting import is_deep, may_be_deep

__all__ = ["MAX_PACKET_DEPTH", "STRICT", "FiniteJson"]

#: Levels of lists and objects in what a client sends. A request that is nested less deeply is
#: refused with a sentence where it is still too deep; the parser's own bound differs between
#: versions of Python (900 levels to 10,000), and what it lets through may raise later on.
MAX_PACKET_DEPTH = 500


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not JSON that every client can read")
    return number


#: Refuses NaN, Infinity, and numbers that are too large for a float. One for all messages.
STRICT = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


class FiniteJson:
    """Stands in for the ``json`` module where python-socketio takes another."""

    dumps = staticmethod(engineio_json.dumps)

    @staticmethod
    def loads(text: str | bytes) -> Any:
        """Return what a text stands for.

        Raises:
            ValueError: it is not JSON, or not finite, or has an integer of over 100 digits, or is
                nested more than ``MAX_PACKET_DEPTH`` levels deep.
        """
        value = engineio_json.loads(text, parse_constant=_finite, parse_float=_finite)
        if may_be_deep(text, MAX_PACKET_DEPTH) and is_deep(value, MAX_PACKET_DEPTH):
            raise ValueError(f"it is nested more than {MAX_PACKET_DEPTH} levels deep")
        return value
