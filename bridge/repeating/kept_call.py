"""The call of a job that the archive keeps, so that the job can be run again. Pure.

It travels in the job's first ``queued`` event, inside of the field that carries the trace context:
servers of all versions remove that before clients get the event. Arguments that are redacted, or
larger than ``TASKBRIDGE_KEPT_ARGUMENT_BYTES``, do not travel; a reason does, in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NotRequired, TypeAlias, TypedDict

from bridge.protocol.event import CALL, finite_json
from bridge.protocol.json_types import JSONObject
from bridge.protocol.nesting import MAX_MESSAGE_DEPTH, is_deep
from bridge.settings import Settings
from bridge.tracing import FIELD

__all__ = ["REASONS", "KeptCall", "carried", "is_redacted", "kept", "omitted"]

#: Options of a call that are kept; others belong to the time at which it was made.
OPTIONS = ("queue", "priority")
#: Options of Celery's own by which an application hides arguments from operators.
HIDING = ("argsrepr", "kwargsrepr")
#: Levels of lists and objects around a call in a message on the bus, and some more.
AROUND = 20

Reason = Literal["redacted", "too_large", "not_json", "canvas", "generator"]
#: Why a job's arguments were not kept, as sentences.
REASONS: dict[str, str] = {
    "redacted": "its arguments are redacted, and are kept nowhere",
    "too_large": "its arguments are larger than TASKBRIDGE_KEPT_ARGUMENT_BYTES, and were not kept",
    "not_json": "its arguments are no JSON, or nested too deeply, and were not kept",
    "canvas": "it is a canvas that was not enqueued by Bridge.enqueue, and was not kept",
    "generator": "it is a canvas over a generator, which can be read only once",
}


class KeptCall(TypedDict):
    """A call: of a task by its ``name``, or of a ``signature``."""

    name: NotRequired[str]
    signature: NotRequired[JSONObject]
    args: Sequence[object]
    kwargs: Mapping[str, object]
    #: Those of ``OPTIONS`` that were given.
    options: NotRequired[JSONObject]
    #: Endpoint to which the archive delivers the end of the job.
    webhook: NotRequired[str]


#: What travels: a call, or ``{"omitted": reason}``.
Kept: TypeAlias = Mapping[str, object]


def kept(
    call: KeptCall, names: Iterable[str], options: Mapping[str, object], settings: Settings
) -> Kept | None:
    """Return what travels of a call.

    Args:
        call: the call, without options.
        names: names of all of its tasks.
        options: Celery's options of the call.
        settings: the bound, and the names whose arguments are redacted.

    Returns:
        The call or a reason; None if no arguments are to be kept at all.
    """
    if not settings.kept_argument_bytes:
        return None
    if any(is_redacted(name, settings) for name in names) or any(map(options.get, HIDING)):
        return omitted("redacted")
    chosen = {name: options[name] for name in OPTIONS if options.get(name) is not None}
    whole: Kept = {**call, "options": chosen} if chosen else call
    try:
        if is_deep(whole, MAX_MESSAGE_DEPTH - AROUND):
            return omitted("not_json")
        size = len(finite_json(whole))
    except (TypeError, ValueError, RecursionError):
        return omitted("not_json")
    return omitted("too_large") if size > settings.kept_argument_bytes else whole


def omitted(reason: Reason) -> Kept:
    """Return what travels in place of a call."""
    return {"omitted": reason}


def is_redacted(name: str, settings: Settings) -> bool:
    """Whether ``TASKBRIDGE_REDACT`` names a task."""
    return any(fnmatchcase(name, pattern) for pattern in settings.redact)


def carried(call: Kept | None) -> JSONObject:
    """Return the fields of an event's data that carry a call; none without one."""
    return {} if call is None else {FIELD: {CALL: call}}
