"""Requests of clients and the one form of their answers."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from bridge.errors import BrokerUnavailable, EnqueueError, JobNotFound, TaskbridgeError

__all__ = ["Refused", "answered", "text", "whole"]

logger = logging.getLogger(__name__)

CODES: dict[type[TaskbridgeError], str] = {
    BrokerUnavailable: "unavailable",
    EnqueueError: "bad_request",
    JobNotFound: "not_found",
}


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        code: one of the protocol's error codes.
        message: one sentence for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def answered(handler: Callable[[Any, str, dict[str, Any]], dict[str, Any]]) -> Any:
    """Turn a method into a Socket.IO handler that always answers, and never with a traceback."""

    @functools.wraps(handler)
    def handle(self: Any, sid: str, request: Any = None, *_: Any) -> dict[str, Any]:
        try:
            if not isinstance(request, dict):
                raise Refused("bad_request", "a request's payload must be a JSON object")
            return {"ok": True, **handler(self, sid, request)}
        except Refused as error:
            return _error(error.code, str(error))
        except TaskbridgeError as error:
            return _error(CODES.get(type(error), "bad_request"), str(error))
        except Exception:
            logger.exception("taskbridge: a request failed")
            return _error("internal", "the server failed to answer; its log says why")

    return handle


def _error(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "error": {"code": code, "message": message}}


def text(request: dict[str, Any], name: str, *, required: bool = True) -> str:
    """Return a field of a request that must be a string of 1 to 255 characters.

    Raises:
        Refused: it is missing or something else.
    """
    value = request.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise Refused("bad_request", f"{name} must be a string of 1 to 255 characters")
    return value


def whole(request: dict[str, Any], name: str, *, default: int, most: int) -> int:
    """Return a field of a request that must be a whole number from 1 to ``most``.

    Raises:
        Refused: it is something else.
    """
    value = request.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Refused("bad_request", f"{name} must be a whole number from 1 to {most}")
    return value
