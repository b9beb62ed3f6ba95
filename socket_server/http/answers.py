"""What routes share: the token of a request, and an answer that is an error."""

from __future__ import annotations

from flask import Response, jsonify, request

from bridge.protocol.error_codes import error_object
from bridge.protocol.request_types import ErrorCode

__all__ = ["MISDIRECTED", "bearer", "error"]

#: Status of a request for a job of another shard (RFC 9110, 15.5.20).
MISDIRECTED = 421


def bearer() -> dict[str, str] | None:
    """Return the token of the request's ``Authorization`` header, as clients send it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return {"token": token} if scheme.lower() == "bearer" else None


def error(status: int, code: ErrorCode, message: str) -> tuple[Response, int]:
    """Return an answer that is an error.

    Args:
        status: HTTP status.
        code: the protocol's code.
        message: one sentence for a person.
    """
    return jsonify(error=error_object(code, message)), status
