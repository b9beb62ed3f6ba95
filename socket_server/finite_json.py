"""JSON without NaN and Infinity, which other programs cannot read."""

from __future__ import annotations

import json
import math
from typing import Any

from engineio import json as engineio_json

__all__ = ["STRICT", "FiniteJson"]


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
            ValueError: it is not JSON, or not finite, or has an integer of over 100 digits.
        """
        return engineio_json.loads(text, parse_constant=_finite, parse_float=_finite)
