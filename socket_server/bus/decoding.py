"""Decodes messages of the bus: into JSON objects, and into the events of jobs in them. Pure."""

from __future__ import annotations

from typing import NamedTuple

from bridge.errors import EventError
from bridge.protocol.event import (
    MAX_EVENT_BYTES,
    NAMESPACE,
    Event,
    finite_json,
    room_of_job,
)
from bridge.protocol.json_types import JSONObject
from bridge.protocol.nesting import MAX_MESSAGE_DEPTH, is_deep, may_be_deep
from socket_server.bus.sources import BusMessage
from socket_server.messages.strict_json import decode

__all__ = ["Decoded", "decoded", "event_in", "fits", "job_event"]

#: Maximum size in bytes of a message that is decoded; the largest event takes a good half of it.
MAX_MESSAGE = 2 * MAX_EVENT_BYTES


class Decoded(NamedTuple):
    """A decoded message of the bus."""

    #: Its JSON object.
    fields: JSONObject
    #: Its offset in the stream; None without a stream.
    offset: int | None = None
    #: Whether it is known to have at most ``MAX_EVENT_BYTES``, and no NaN or Infinity.
    sound: bool = False


def decoded(message: BusMessage) -> Decoded | None:
    """Return a message decoded; None if it is no JSON object, or one that is too large or deep."""
    body = message.body
    try:
        if len(body) <= MAX_MESSAGE:
            value = decode(body)
            deep = may_be_deep(body, MAX_MESSAGE_DEPTH) and is_deep(value, MAX_MESSAGE_DEPTH)
            if isinstance(value, dict) and not deep:
                return Decoded(value, message.offset, len(body) <= MAX_EVENT_BYTES)
    except (TypeError, ValueError, RecursionError):
        pass
    return None


def event_in(message: Decoded) -> Event | None:
    """Return the event of a job that a message of the bus carries; None if it carries none."""
    fields = message.fields
    room, data = fields.get("room"), fields.get("data")
    kind = fields.get("method"), fields.get("namespace"), fields.get("event")
    if kind != ("emit", NAMESPACE, "job") or fields.get("binary"):
        return None
    if not isinstance(room, str) or not isinstance(data, list):
        return None
    return job_event(room, data) if message.sound or fits(data) else None


def job_event(room: str, data: list[object]) -> Event | None:
    """Return the event in the data of a message to a room; None if a worker may not send it."""
    try:
        event = Event.decode(data[0] if len(data) == 1 else None)
    except EventError:
        return None
    # A server sends verdicts to its own clients only.
    return event if room == room_of_job(event.job) and not event.verdict else None


def fits(data: object) -> bool:
    """Whether a value is JSON without NaN and Infinity of at most ``MAX_EVENT_BYTES``."""
    try:
        return len(finite_json(data)) <= MAX_EVENT_BYTES
    except (TypeError, ValueError, RecursionError):
        return False
