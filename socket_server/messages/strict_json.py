"""JSON decoders that refuse NaN, Infinity and, for client packets, deep nesting."""

from __future__ import annotations

import json
import math

from engineio import json as engineio_json

from bridge.protocol.nesting import is_deep, may_be_deep

__all__ = ["MAX_PACKET_DEPTH", "STRICT", "FiniteJson"]

#: Levels of lists and objects in a client's packet. A request below it that is still too deep is
#: answered with an error message. The parser's own limit differs between versions of Python (900
#: levels to 10,000), and a value within it may raise an error later on.
MAX_PACKET_DEPTH = 500


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is not JSON that every client can read")
    return number


#: Refuses NaN, Infinity, and numbers too large for a float; shared, as it has no state.
STRICT = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)


class FiniteJson:
    """Replacement for the ``json`` module in python-socketio's packets."""

    dumps = staticmethod(engineio_json.dumps)

    @staticmethod
    def loads(text: str | bytes) -> object:
        """Return the decoded value of a JSON text.

        Raises:
            ValueError: it is not JSON, or not finite, or has an integer of over 100 digits, or is
                nested more than ``MAX_PACKET_DEPTH`` levels deep.
        """
        value = engineio_json.loads(text, parse_constant=_finite, parse_float=_finite)
        if may_be_deep(text, MAX_PACKET_DEPTH) and is_deep(value, MAX_PACKET_DEPTH):
            raise ValueError(f"it is nested more than {MAX_PACKET_DEPTH} levels deep")
        return value
