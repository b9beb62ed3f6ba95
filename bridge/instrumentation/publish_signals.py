"""Signal handlers of publishers: a tracked message becomes a task of a job, and is reported.

They add a header, ``taskbridge``, to each message that is published inside :func:`enqueuing` or by
a task whose own message has the header, and send a ``queued`` event. Other tasks are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast, get_args

from celery import current_task, signals

from bridge.instrumentation import calls, canvas, flower_progress, installed, outcomes
from bridge.protocol.event import is_counter, is_identifier, is_number
from bridge.protocol.json_types import JSONObject
from bridge.reporting import current_job
from bridge.reporting.run import Run
from bridge.sending.emitter import emitter_for
from bridge.settings import Settings
from bridge.untyped import CeleryRequest, KombuMessage

if TYPE_CHECKING:
    from kombu import Queue

__all__ = [
    "HEADER",
    "INTERNAL",
    "Header",
    "connect",
    "enqueuing",
    "execution",
    "fields_of",
    "header_of",
    "run_after",
    "sound",
    "stopped_clock",
    "told",
]

#: Header of a task's message that makes it, and what it spawns, part of a job.
HEADER = "taskbridge"
#: Text that Flower and Celery's events show to operators instead of arguments.
REDACTED = "<redacted>"
#: Names of Celery's own helper tasks, for which no events are sent.
INTERNAL = frozenset({"celery.chord_unlock", "celery.backend_cleanup"})
#: Fields of the header that the ``queued`` and ``started`` events repeat.
ToldField = Literal["total", "more", "queue", "expires_at"]
TOLD: tuple[ToldField, ...] = get_args(ToldField)
#: Bound of the numbers of tasks in a header: a job that waits for more would never end.
MAX_TASKS = 10_000_000
#: Bound of ``run`` in a header; the clock, in microseconds, reaches it in 2112.
MAX_RUN = 2**52
#: Microseconds by which ``run`` in the header of a retry is ahead of the clock: a worker's parent
#: publishes the retry before it reports the execution that has failed.
AHEAD = 1_000_000
#: Checks of the values in a header, by name; values of other names are left alone.
SOUND: dict[str, Callable[[Any], bool]] = {
    "owner": lambda value: value is None or is_identifier(value),
    **dict.fromkeys(("total", "more"), lambda value: is_counter(value) and value <= MAX_TASKS),
    **dict.fromkeys(("at", "expires_at"), is_number),
    "queue": lambda value: isinstance(value, str),
    "run": lambda value: is_counter(value) and value < MAX_RUN,
}


class Header(TypedDict, total=False):
    """The value of the header ``taskbridge`` of a task's message."""

    owner: str | None
    #: Time of publishing, in seconds since the epoch.
    at: float
    #: Tasks of the call's job, or tasks that the message adds to a job.
    total: int
    more: int
    #: Number of the publishing run, which this task's runs exceed; see :func:`run_after`.
    run: int
    queue: str
    expires_at: float
    #: Whether arguments are hidden, those of the tasks that it spawns too.
    redact: bool


@dataclass(frozen=True, slots=True)
class Enqueuing:
    """Owner and settings of the messages that a context publishes."""

    owner: str | None
    settings: Settings
    redact: bool = False


_enqueuing: ContextVar[Enqueuing | None] = ContextVar("taskbridge_enqueuing", default=None)
#: Time in microseconds that :func:`run_after` uses in this context; None for the clock.
_stopped: ContextVar[int | None] = ContextVar("taskbridge_stopped", default=None)


@contextlib.contextmanager
def enqueuing(owner: str | None, settings: Settings, redact: bool = False) -> Iterator[None]:
    """Track the messages that are published inside the ``with`` block; each call is one job.

    Args:
        owner: owner of the jobs; None for none.
        settings: broker and channel of their events.
        redact: whether the arguments of all tasks of the jobs are hidden from operators.
    """
    connect()
    token = _enqueuing.set(Enqueuing(owner, settings, redact))
    try:
        yield
    finally:
        _enqueuing.reset(token)


@functools.cache
def connect() -> None:
    """Connect the handlers of Celery's publish signals; further calls do nothing."""
    for signal, handler in (
        (signals.before_task_publish, _before_publish),
        (signals.after_task_publish, _after_publish),
    ):
        signal.connect(handler, weak=False, dispatch_uid=f"taskbridge.{handler.__name__}")
    calls.connect(_asked)


def _asked() -> tuple[str | None, Settings] | None:
    """Return owner and settings of a canvas applied here; None if it is no job of its own."""
    asked = _enqueuing.get()
    # A canvas that a tracked task applies is part of that task's job.
    return (asked.owner, asked.settings) if asked and not _spawning() else None


def _before_publish(
    sender: str,
    headers: JSONObject,
    body: object = None,
    declare: Sequence[Queue] | None = None,
    **_: object,
) -> None:
    if (before := header_of(headers.get(HEADER))) is not None:
        # A retry, which may run on a host whose clock is behind this one's.
        headers[HEADER] = {**before, "run": run_after(before) + AHEAD}
    if asked := _enqueuing.get() or _spawning():
        if call := calls.current():
            call.adopt(headers)
        counts = _counts(headers, body)
        header: Header = {"owner": asked.owner, "at": time.time(), **counts, **_order()}
        if declare:
            header["queue"] = declare[0].name
        if expires := outcomes.moment(headers.get("expires")):
            header["expires_at"] = expires
        if asked.redact:
            header["redact"] = True  # the tasks that it spawns inherit this
        if asked.redact or _is_secret(sender, asked.settings):
            headers["argsrepr"] = headers["kwargsrepr"] = REDACTED
        if sender not in INTERNAL:
            flower_progress.note_job(headers, asked.owner, asked.settings.url)
        headers.setdefault(HEADER, header)
        emitter_for(asked.settings)  # created now, so that it does not delay `queued`


def _is_secret(name: str, settings: Settings) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in settings.redact)


def _counts(headers: JSONObject, body: object) -> Header:
    """Return ``total``, the tasks of a call's job, or ``more``, those that this message adds.

    It is empty if the task was counted before.
    """
    if call := calls.current():
        return {"total": call.total}
    known = frozenset() if _enqueuing.get() is not None else _counted()
    if known is None or headers["id"] in known:
        return {}
    embed = _embedded(body)
    if known and not _replaces(embed) and _is_callback(headers["task"]):
        return {}
    # The callbacks of a counted task were counted with it: a replaced task hands them on to the
    # last task of the canvas that replaces it.
    follow = canvas.followers(embed, headers.get("group_index"))
    return {"more": 1 + canvas.size(follow, known=known)}


def _replaces(embed: JSONObject) -> bool:
    """Whether a message is of a canvas that replaces the current task, and ends with its id.

    If so, the current run is marked as published again.
    """
    here = current_job.running(current_task.request.id)
    if here is None or here[0].task not in canvas.ids(canvas.followers(embed, None)):
        return False
    here[0].republished = True
    return True


def _is_callback(name: str) -> bool:
    """Whether a published task is a callback of the current task that had no id; counts it off."""
    here = current_job.running(current_task.request.id)
    if here is None:
        return False
    run = here[0]
    if run.callbacks is None:
        run.callbacks = canvas.unnamed(current_task.request)
    run.callbacks[name] -= 1
    return run.callbacks[name] >= 0


def _counted() -> frozenset[str] | None:
    """Return the ids of the tasks that were counted before the current task; None for all.

    All were counted if a helper task of Celery publishes them. ``Task.replace`` gives the id of the
    current task to the last task of the canvas, which the current task's callbacks follow.
    """
    if current_task.name in INTERNAL:
        return None
    return canvas.planned(current_task.request) | {current_task.request.id}


def _after_publish(sender: str, headers: JSONObject, body: object = None, **_: object) -> None:
    # Sent after the publish: a task that could not be published was never queued.
    asked = _enqueuing.get() or _spawning()
    if asked is None or sender in INTERNAL:
        return
    if call := calls.current():
        call.published += 1
    if here := current_job.running(headers["id"]):
        # A task that is retried or replaced publishes a message with its own id.
        here[0].republished = True
        return
    run = Run(job=headers["root_id"], task=headers["id"], name=sender, owner=asked.owner, begun=0)
    follow = canvas.first_ids(canvas.followers(_embedded(body), headers.get("group_index")))
    data = {**told(headers[HEADER]), **({"followers": follow} if follow else {})}
    emitter_for(asked.settings).put(run, "queued", data)


def _embedded(body: object) -> JSONObject:
    """Return the ``embed`` part of a message's body: what follows its task."""
    return body[2] if isinstance(body, tuple | list) and len(body) == 3 else {}


def run_after(header: Header, by: int = 1) -> int:
    """Return a number for an execution: the clock in microseconds, but greater than ``run``.

    The attempts of a task, and the tasks of a chain, are so in order even if hosts' clocks differ.

    Args:
        header: taskbridge header of the task's message; its ``run`` is from the publisher.
        by: minimum distance to ``run``; default 1.
    """
    return max(_stopped.get() or time.time_ns() // 1000, header.get("run", 0) + by)


@contextlib.contextmanager
def stopped_clock() -> Iterator[None]:
    """Make :func:`run_after` use the time at which the ``with`` block begins.

    An execution that is reported after its retry was published has so the smaller number.
    """
    token = _stopped.set(time.time_ns() // 1000)
    try:
        yield
    finally:
        _stopped.reset(token)


def execution(fields: JSONObject | CeleryRequest) -> JSONObject:
    """Return which execution of a task this is: ``attempt``, ``redelivered``, maybe ``replaced``.

    Args:
        fields: fields of the task's message, or its request; read with ``get``.
    """
    retries, delivery = fields.get("retries", 0), fields.get("delivery_info") or {}
    attempt = retries + 1 if is_counter(retries) else 1
    told = {"attempt": attempt, "redelivered": bool(delivery.get("redelivered"))}
    replaced = fields.get("replaced_task_nesting")
    # Celery counts the attempts of a task that replaces another from 1 again.
    return {**told, "replaced": replaced} if is_counter(replaced) and replaced else told


def fields_of(message: KombuMessage, fields: JSONObject | None = None) -> JSONObject:
    """Return the fields of a message that has no request yet, with its ``delivery_info``.

    Args:
        message: kombu message.
        fields: fields of its task; default its headers.
    """
    return {**(fields or message.headers or {}), "delivery_info": message.delivery_info}


def _order() -> Header:
    """Return the ``run`` of a spawned task's header, which orders it after the current task."""
    if _enqueuing.get() is not None:
        return {}
    return {"run": run_after(getattr(current_task.request, HEADER))}


def told(header: Header) -> JSONObject:
    """Return the fields of a header that the ``queued`` and ``started`` events repeat."""
    return {name: header[name] for name in TOLD if name in header}


def header_of(value: object) -> Header | None:
    """Return the header of a message that :func:`sound` has checked; None if it has none."""
    return cast("Header", value) if isinstance(value, dict) else None


def sound(header: object) -> Header | None:
    """Return a header without values of a wrong type; None if it is no header."""
    if not isinstance(header, dict):
        return None
    right = {name: one for name, one in header.items() if name not in SOUND or SOUND[name](one)}
    return cast("Header", right)


def _spawning() -> Enqueuing | None:
    """Return owner and settings of the tracked task that is publishing; None without one."""
    header = getattr(current_task.request, HEADER, None) if current_task else None
    if not header or (settings := installed.settings_or_none()) is None:
        return None
    return Enqueuing(header.get("owner"), settings, bool(header.get("redact")))
