"""Error objects of the protocol, and which of them are temporary."""

from __future__ import annotations

from typing import cast

from bridge.protocol.request_types import ErrorCode, ErrorObject

__all__ = ["TEMPORARY", "error_object"]

#: Codes of errors after which the same request may succeed later.
TEMPORARY: frozenset[ErrorCode] = frozenset(
    {"unavailable", "too_many_requests", "too_many_connections", "internal"}
)


def error_object(code: ErrorCode, message: str, **more: object) -> ErrorObject:
    """Return an error as the JSON object of the protocol.

    Args:
        code: one of those in docs/protocol.md.
        message: one sentence for a person.
        more: further fields of errors with this code.
    """
    told = {"code": code, "message": message, "temporary": code in TEMPORARY, **more}
    return cast("ErrorObject", told)
