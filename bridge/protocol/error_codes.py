"""Error objects of the protocol, and which of them are temporary."""

from __future__ import annotations

from bridge.protocol.json_types import JSONObject

__all__ = ["TEMPORARY", "error_object"]

#: Codes of errors after which the same request may succeed later.
TEMPORARY = frozenset({"unavailable", "too_many_requests", "too_many_connections", "internal"})


def error_object(code: str, message: str, **more: object) -> JSONObject:
    """Return an error as the JSON object of the protocol.

    Args:
        code: one of those in docs/protocol.md.
        message: one sentence for a person.
        more: further fields of errors with this code.
    """
    return {"code": code, "message": message, "temporary": code in TEMPORARY, **more}
