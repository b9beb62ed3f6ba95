"""Client requests: checks of their fields, refusals, and one form for all answers."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from bridge.errors import (
    BrokerUnavailable,
    EnqueueError,
    JobNotFound,
    QueueUnavailable,
    ResultsUnavailable,
    TaskbridgeError,
)
from bridge.identifiers import MAX_CHARACTERS, flaw
from bridge.protocol.error_codes import error_object
from bridge.protocol.json_types import JSONObject
from bridge.protocol.request_types import ErrorCode, ErrorObject
from bridge.untyped import SocketIOServer
from socket_server.messages.answer import Body

__all__ = ["Refused", "answered", "refusal_of", "text", "whole"]

logger = logging.getLogger(__name__)

#: Seconds at most for which a client that sends too many requests is not read.
MAX_PAUSE = 1.0

FAILED = "the server failed to answer; its log says why"

CODES: dict[type[TaskbridgeError], ErrorCode] = {
    BrokerUnavailable: "unavailable",
    EnqueueError: "bad_request",
    JobNotFound: "not_found",
    ResultsUnavailable: "unavailable",
    QueueUnavailable: "unavailable",
}


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        code: one of the protocol's error codes.
        message: one sentence for a person.
        retry_after: seconds after which the request may be repeated; default None for unknown.
    """

    def __init__(self, code: ErrorCode, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after = retry_after

    def encode(self) -> ErrorObject:
        """Return it as the protocol's error."""
        more = {} if self.retry_after is None else {"retry_after": self.retry_after}
        return error_object(self.code, str(self), **more)


def refusal_of(error: Refused | TaskbridgeError) -> ErrorObject:
    """Return the protocol's error for an exception."""
    if isinstance(error, Refused):
        return error.encode()
    return error_object(CODES.get(type(error), "bad_request"), str(error))


class Answering(Protocol):
    """The object of a method that answers requests."""

    server: SocketIOServer

    def admit(self, sid: str) -> None:
        """Count a request; raise :class:`Refused` over the rate limit."""

    def charge(self, sid: str, size: float) -> None:
        """Count the bytes of an answer."""

    def refused(self, sid: str, request: str, code: str, job: object) -> None:
        """Note an answer that is an error."""


Answerer = TypeVar("Answerer", bound=Answering)


def answered(
    handler: Callable[[Answerer, str, JSONObject], Mapping[str, object] | Body],
) -> Callable[..., Body | JSONObject]:
    """Turn a method into a Socket.IO handler that always answers, and never with a traceback."""
    name = handler.__name__.removeprefix("on_")

    @functools.wraps(handler)
    def handle(self: Answerer, sid: str, request: object = None, *_: object) -> Body | JSONObject:
        try:
            self.admit(sid)
            if not isinstance(request, dict):
                raise Refused("bad_request", "a request's payload must be a JSON object")
            answer = handler(self, sid, request)
            body = answer if isinstance(answer, Body) else Body({"ok": True, **answer})
            self.charge(sid, body.size)
            return body
        except Refused as error:
            if error.code == "too_many_requests":
                # The next request is not read meanwhile: refusing a flood of them is costly, too.
                self.server.sleep(min(error.retry_after or 0.0, MAX_PAUSE))
            refusal = refusal_of(error)
        except TaskbridgeError as error:
            refusal = refusal_of(error)
        except Exception:
            logger.exception("taskbridge: a request failed")
            refusal = error_object("internal", FAILED)
        job = request.get("job") if isinstance(request, dict) else None
        self.refused(sid, name, refusal["code"], job)
        return {"ok": False, "error": refusal}

    return handle


def text(
    request: JSONObject, name: str, *, required: bool = True, most: int = MAX_CHARACTERS
) -> str:
    """Return a field of a request that must be an identifier of 1 to ``most`` characters.

    Raises:
        Refused: it is missing, or not such an identifier.
    """
    value = request.get(name)
    if value is None and not required:
        return ""
    if (reason := flaw(value, most)) is not None:
        raise Refused("bad_request", f"{name} {reason}")
    return str(value)


def whole(request: JSONObject, name: str, *, default: int, most: int) -> int:
    """Return a field of a request that must be a whole number from 1 to ``most``.

    Raises:
        Refused: it is not such a number.
    """
    value = request.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Refused("bad_request", f"{name} must be a whole number from 1 to {most}")
    return value
