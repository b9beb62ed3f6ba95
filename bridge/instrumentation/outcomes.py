"""Builds the data of events about a task's end: its result, its error, whether it runs again."""

from __future__ import annotations

import builtins
import datetime
import json
import time
import traceback
from collections.abc import Iterable

from celery import states
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

from bridge.cancelling.revocation import Revoked
from bridge.errors import InputError
from bridge.protocol.event import MAX_LOG_BYTES, MAX_RESULT_BYTES, EventType, cut, finite_json
from bridge.protocol.json_types import JobFailure, JSONObject
from bridge.protocol.nesting import MAX_DEPTH
from bridge.reporting.run import Run
from bridge.settings import Settings
from bridge.untyped import CeleryTask

__all__ = [
    "EXPIRED",
    "HANDED_BACK",
    "NOT_HANDED_BACK",
    "REPLACED",
    "error",
    "failure",
    "moment",
    "result",
    "retry",
    "stored_error",
    "untold",
]

#: Longest traceback in an event, in bytes of JSON.
MAX_TRACEBACK_BYTES = 32 * 1024
#: Longest name of an exception's class in an event, in bytes of JSON.
MAX_CLASS_BYTES = 255
#: Exceptions whose text is not their argument alone; rebuilt from stored arguments to get the text.
_NAMED: dict[str, type[BaseException]] = {
    **{one.__name__: one for one in (WorkerLostError, SoftTimeLimitExceeded, TimeLimitExceeded)},
    **{
        name: one
        for name, one in vars(builtins).items()
        if isinstance(one, type) and issubclass(one, OSError | KeyError)
    },
}

HANDED_BACK = "the worker that ran it was stopped: another one will run it"
NOT_HANDED_BACK = (
    "the worker that ran it was stopped, and nobody will run it again: "
    "with task_acks_late it would be handed back"
)
REPLACED = "it has put another task into its place, which will run next"
IGNORED = "it ended without a result, as it was told to"
EXPIRED = "it was not started before it expired"


def result(value: object) -> JSONObject:
    """Return the data of ``succeeded``: the result, or ``result_omitted`` if it cannot be sent."""
    if not _may_travel(value):
        return {"result_omitted": True}
    try:
        text = finite_json(value)
    except (TypeError, ValueError):
        return {"result_omitted": True}
    if len(text) > MAX_RESULT_BYTES:
        return {"result_omitted": True}
    return {"result": json.loads(text)}


def _may_travel(value: object) -> bool:
    """Whether a value is neither nested too deep nor certain to be too large.

    A value that is small in memory can be huge as JSON: a list that holds another one twice,
    which holds a third one twice.
    """
    left, level = MAX_RESULT_BYTES, [value]
    for _ in range(MAX_DEPTH):
        # Each of these takes at least one byte for each of its members or characters.
        left -= sum(len(one) for one in level if isinstance(one, str | list | tuple | dict))
        if left < 0:
            return False
        level = [member for one in level for member in _members(one)]
        if not level:
            return True
    return False


def _members(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return (*value, *value.values())
    return value if isinstance(value, list | tuple) else ()


def failure(exception: BaseException, task: CeleryTask, settings: Settings) -> JSONObject:
    """Return the data of ``failed`` and ``lost`` for an exception of a task."""
    told = {"error": error(exception, traced=settings.show_tracebacks)}
    if isinstance(exception, WorkerLostError):
        return {**told, "reason": told["error"]["message"]}
    # Celery requeues such a message, and the task runs again until it ends within its time limit.
    again = isinstance(exception, TimeLimitExceeded) and task.acks_late and not task.acks_on_timeout
    return {**told, "retry": bool(again)}


def retry(reason: BaseException, settings: Settings) -> JSONObject:
    """Return the data of ``retrying`` for the reason that Celery's signal gives."""
    cause = getattr(reason, "exc", None) or reason
    told = error(cause, traced=settings.show_tracebacks)
    return {"error": told, "retry_at": moment(getattr(reason, "when", None))}


def untold(
    run: Run, task: CeleryTask, state: str | None, value: object
) -> tuple[EventType, JSONObject] | None:
    """Return the final event of a run for which no signal of its process reported one.

    Args:
        run: run that has ended without a final event.
        task: the Celery task.
        state: the task's state in Celery; None if its process was told to exit.
        value: value that the task returned or raised.

    Returns:
        None if the worker's parent reports the end.
    """
    if state is None and run.cancelled:
        return "cancelled", {}
    if state is None and task.acks_late:
        return "retrying", {"reason": HANDED_BACK}
    if state == states.REJECTED and getattr(value, "requeue", False):
        return "retrying", {"reason": HANDED_BACK}
    if isinstance(value, Revoked):
        return "cancelled", {}
    if state == states.IGNORED:
        kind: EventType = "retrying" if run.republished else "succeeded"
        return kind, {"reason": REPLACED if run.republished else IGNORED}
    return None


def moment(when: object) -> float | None:
    """Return a time in seconds since the epoch; None for None.

    Args:
        when: seconds from now, a ``datetime``, or its ISO 8601 text, as Celery gives it.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if isinstance(when, int | float):
        return time.time() + when
    if isinstance(when, str):
        when = datetime.datetime.fromisoformat(when)
    if when is not None and not isinstance(when, datetime.datetime):
        raise TypeError(f"a time must be a number, a date or its text, not {type(when).__name__}")
    return when.timestamp() if when else None


def error(exception: BaseException, *, traced: bool = False) -> JobFailure:
    """Return an exception as the ``error`` object of an event.

    Args:
        exception: exception that was raised.
        traced: whether to include its traceback, which an ``InputError`` never has.
    """
    told: JobFailure = {
        "class": type(exception).__name__,
        "message": cut(_message(exception), MAX_LOG_BYTES),
    }
    if traced and not isinstance(exception, InputError):
        # The end of a traceback says most, so the beginning is cut.
        text = "".join(traceback.format_exception(exception))
        told["traceback"] = cut(text[::-1], MAX_TRACEBACK_BYTES)[::-1]
    return told


def stored_error(value: object) -> JobFailure | None:
    """Return a stored exception as the ``error`` object of an event; None if it is no exception.

    Args:
        value: value read from the result backend; the class that it names is not imported.
    """
    if not isinstance(value, dict) or not isinstance(name := value.get("exc_type"), str):
        return None
    arguments = value.get("exc_message", ())
    if not _may_travel(arguments):
        arguments = ()
    name = cut(name.rpartition(".")[2], MAX_CLASS_BYTES)
    arguments = arguments if isinstance(arguments, list | tuple) else (arguments,)
    exception = _NAMED.get(name, Exception)(*arguments)
    return {"class": name, "message": cut(_message(exception), MAX_LOG_BYTES)}


def _message(exception: BaseException) -> str:
    seconds = next(iter(exception.args), None)
    if isinstance(exception, WorkerLostError):
        killed = "signal 9" in str(exception)
        why = " (killed by signal 9, as by the system when memory runs out)" if killed else ""
        return f"the worker process that ran it died{why}"
    if isinstance(exception, SoftTimeLimitExceeded | TimeLimitExceeded):
        limit = f" of {seconds:g} s" if isinstance(seconds, int | float) else ""
        return f"it took longer than its time limit{limit}"
    try:
        return str(exception)
    except Exception:  # noqa: BLE001 - __str__ of the application's class, or a value nested too deeply
        return "it has no message that can be shown"
