"""What is published by who tracks it becomes part of a job, and is told to be queued.

A tracked task carries a header, ``taskbridge``, from whoever enqueued it to everything that it
spawns; a task without it is left alone.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from celery import current_task, signals

from bridge.instrumentation import calls, canvas, flower_progress, outcomes
from bridge.protocol.event import is_counter, is_identifier, is_number
from bridge.reporting import current_job
from bridge.reporting.task_run import Run
from bridge.sending.emitter import emitter_for
from bridge.settings import Settings

__all__ = [
    "HEADER",
    "INTERNAL",
    "connect",
    "enqueuing",
    "execution",
    "fields_of",
    "of_tasks",
    "run_after",
    "sound",
    "stopped_clock",
    "told",
]

#: Header of a task's message that makes it, and what it spawns, part of a job.
HEADER = "taskbridge"
#: What operators see, in Flower and in Celery's events, instead of arguments.
REDACTED = "<redacted>"
#: Celery's own helpers, which nobody asked for and nobody wants to watch.
INTERNAL = frozenset({"celery.chord_unlock", "celery.backend_cleanup"})
#: What of a task's header its first event tells.
TOLD = ("total", "more", "queue", "expires_at")
#: Tasks that a job may have at most: one that waits for more would never end.
MAX_TASKS = 10_000_000
#: Bound of the number of an execution in a task's header; that of a clock reaches it in 2112.
MAX_RUN = 2**52
#: By how much the number in the header of a task that is tried again is greater than the clock's,
#: in microseconds: a worker's parent publishes it before it reports the execution that has failed.
AHEAD = 1_000_000
#: What the values of a task's header must be; values of other names are left alone.
SOUND: dict[str, Callable[[Any], bool]] = {
    "owner": lambda value: value is None or is_identifier(value),
    **dict.fromkeys(("total", "more"), lambda value: is_counter(value) and value <= MAX_TASKS),
    **dict.fromkeys(("at", "expires_at"), is_number),
    "queue": lambda value: isinstance(value, str),
    "run": lambda value: is_counter(value) and value < MAX_RUN,
}


@dataclass(frozen=True, slots=True)
class Enqueuing:
    """Who is asking for what is published now."""

    owner: str | None
    settings: Settings
    redact: bool = False


_enqueuing: ContextVar[Enqueuing | None] = ContextVar("taskbridge_enqueuing", default=None)
#: The microsecond by which this context numbers executions; None for the clock's.
_stopped: ContextVar[int | None] = ContextVar("taskbridge_stopped", default=None)
#: Of the application in this process that tracks its tasks; empty if there is none.
of_tasks: list[Settings] = []


@contextlib.contextmanager
def enqueuing(owner: str | None, settings: Settings, redact: bool = False) -> Iterator[None]:
    """Track what is published inside the ``with`` block: each call is one job.

    Args:
        owner: whose jobs they are.
        settings: where their events go.
        redact: whether the arguments of all tasks of the job are kept from operators.
    """
    connect()
    token = _enqueuing.set(Enqueuing(owner, settings, redact))
    try:
        yield
    finally:
        _enqueuing.reset(token)


@functools.cache
def connect() -> None:
    """See from now on what this process publishes."""
    for signal, handler in (
        (signals.before_task_publish, _before_publish),
        (signals.after_task_publish, _after_publish),
    ):
        signal.connect(handler, weak=False, dispatch_uid=f"taskbridge.{handler.__name__}")
    calls.connect(_asked)


def _asked() -> tuple[str | None, Settings] | None:
    """Return for whom a canvas that is applied here becomes a job of its own."""
    asked = _enqueuing.get()
    # What a task of a job applies is a part of that job.
    return (asked.owner, asked.settings) if asked and not _spawning() else None


def _before_publish(
    sender: str, headers: dict[str, Any], body: Any = None, declare: Any = None, **_: Any
) -> None:
    if isinstance(before := headers.get(HEADER), dict):
        # The task is tried again, maybe on a host whose clock is behind this one's.
        headers[HEADER] = {**before, "run": run_after(before) + AHEAD}
    if asked := _enqueuing.get() or _spawning():
        if call := calls.current():
            call.adopt(headers)
        counts = _counts(headers, body)
        header = {"owner": asked.owner, "at": time.time(), **counts, **_order()}
        if declare:
            header["queue"] = declare[0].name
        if expires := outcomes.moment(headers.get("expires")):
            header["expires_at"] = expires
        if asked.redact:
            header["redact"] = True  # and so are those of what it spawns
        if asked.redact or _is_secret(sender, asked.settings):
            headers["argsrepr"] = headers["kwargsrepr"] = REDACTED
        if sender not in INTERNAL:
            flower_progress.note_job(headers, asked.owner, asked.settings.url)
        headers.setdefault(HEADER, header)
        emitter_for(asked.settings)  # made now, so that `queued` is not late when it is known


def _is_secret(name: str, settings: Settings) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in settings.redact)


def _counts(headers: dict[str, Any], body: Any) -> dict[str, int]:
    """Return how many tasks the job was planned to have, or how many more it has now."""
    if call := calls.current():
        return {"total": call.total}
    known = frozenset() if _enqueuing.get() is not None else _counted()
    if known is None or headers["id"] in known:
        return {}
    embed = _embedded(body)
    if known and not _replaces(embed) and _is_callback(headers["task"]):
        return {}
    # What is linked to a task that was counted was counted with it: a replaced task hands its
    # callbacks on to the end of what replaces it.
    follow = canvas.followers(embed, headers.get("group_index"))
    return {"more": 1 + canvas.size(follow, known=known)}


def _replaces(embed: dict[str, Any]) -> bool:
    """Whether a message puts a canvas into the place of the current task, which it ends with."""
    here = current_job.running(current_task.request.id)
    if here is None or here[0].task not in canvas.ids(canvas.followers(embed, None)):
        return False
    here[0].republished = True
    return True


def _is_callback(name: str) -> bool:
    """Whether it is published because it was linked to the current task, without an id."""
    here = current_job.running(current_task.request.id)
    if here is None:
        return False
    run = here[0]
    if run.callbacks is None:
        run.callbacks = canvas.unnamed(current_task.request)
    run.callbacks[name] -= 1
    return run.callbacks[name] >= 0


def _counted() -> frozenset[str] | None:
    """Return ids of tasks that were counted before what the current one publishes now.

    None for all of them: then Celery itself publishes what was planned. A task that puts a canvas
    into its place (``Task.replace``) gives its own id to the end of it, and what was to come after
    the task comes after that.
    """
    if current_task.name in INTERNAL:
        return None
    return canvas.planned(current_task.request) | {current_task.request.id}


def _after_publish(sender: str, headers: dict[str, Any], body: Any = None, **_: Any) -> None:
    # Only now: what could not be published was never queued.
    asked = _enqueuing.get() or _spawning()
    if asked is None or sender in INTERNAL:
        return
    if call := calls.current():
        call.published += 1
    if here := current_job.running(headers["id"]):
        # A task that is tried again, or replaced, publishes under its own id.
        here[0].republished = True
        return
    run = Run(job=headers["root_id"], task=headers["id"], name=sender, owner=asked.owner, begun=0)
    follow = canvas.first_ids(canvas.followers(_embedded(body), headers.get("group_index")))
    data = {**told(headers[HEADER]), **({"followers": follow} if follow else {})}
    emitter_for(asked.settings).put(run, "queued", data)


def _embedded(body: Any) -> dict[str, Any]:
    """Return the part of a message that says what follows its task."""
    return body[2] if isinstance(body, tuple | list) and len(body) == 3 else {}


def run_after(header: dict[str, Any], by: int = 1) -> int:
    """Return a number for an execution: the microsecond, but greater than its message's ``run``.

    So the attempts of a task, and the tasks of a chain, are in their order by any host's clock.

    Args:
        header: of the task's message; its ``run`` is a number that the sender knew.
        by: by how much it is greater.
    """
    known: int = header.get("run", 0)
    return max(_stopped.get() or time.time_ns() // 1000, known + by)


@contextlib.contextmanager
def stopped_clock() -> Iterator[None]:
    """Number executions by the time at which the ``with`` block begins, however long it takes.

    So an execution that is reported after its retry was published has the smaller number.
    """
    token = _stopped.set(time.time_ns() // 1000)
    try:
        yield
    finally:
        _stopped.reset(token)


def execution(fields: Any) -> dict[str, Any]:
    """Return what Celery knows about which execution of a task this is.

    Args:
        fields: of the task's message, or its request; read with ``get``.
    """
    retries, delivery = fields.get("retries"), fields.get("delivery_info") or {}
    attempt = retries + 1 if is_counter(retries) else 1
    told = {"attempt": attempt, "redelivered": bool(delivery.get("redelivered"))}
    replaced = fields.get("replaced_task_nesting")
    # Celery counts the attempts of a task that another one has put into its place from 1 again.
    return {**told, "replaced": replaced} if is_counter(replaced) and replaced else told


def fields_of(message: Any, fields: Any = None) -> dict[str, Any]:
    """Return the fields of a message that is no request yet.

    Args:
        message: kombu's.
        fields: of its task; default its headers.
    """
    return {**(fields or message.headers or {}), "delivery_info": message.delivery_info}


def _order() -> dict[str, int]:
    """Return what makes the number of a task that is published greater than its publisher's."""
    if _enqueuing.get() is not None:
        return {}
    return {"run": run_after(getattr(current_task.request, HEADER))}


def told(header: dict[str, Any]) -> dict[str, Any]:
    """Return what of a task's header its first event tells."""
    return {name: header[name] for name in TOLD if name in header}


def sound(header: Any) -> dict[str, Any] | None:
    """Return a task's header without what is not of its type; None for what is no header."""
    if not isinstance(header, dict):
        return None
    return {name: one for name, one in header.items() if name not in SOUND or SOUND[name](one)}


def _spawning() -> Enqueuing | None:
    """Return whose task is publishing, if a tracked task is."""
    header = getattr(current_task.request, HEADER, None) if current_task else None
    if not header or not of_tasks:
        return None
    return Enqueuing(header.get("owner"), of_tasks[0], bool(header.get("redact")))
