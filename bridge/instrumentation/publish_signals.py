"""Signal handlers of publishers: a tracked message becomes a task of a job, and is reported.

They add a header, ``taskbridge``, to each message that is published inside :func:`enqueuing` or by
a task whose own message has the header, and send a ``queued`` event. Other tasks are left alone.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celery import current_task, signals
from celery.utils.saferepr import saferepr

from bridge.identifiers import flaw
from bridge.instrumentation import calls, canvas, flower_progress, installed, outcomes
from bridge.instrumentation.header import (
    HEADER,
    INTERNAL,
    Header,
    header_of,
    parent_of,
    repeated,
    run_after,
    run_of,
)
from bridge.protocol.json_types import JSONObject
from bridge.repeating.kept_call import Kept, carried, is_redacted, kept, omitted
from bridge.reporting import current_job
from bridge.sending import fork_relay
from bridge.sending.process_emitters import TASK_FLUSH, emitter_for
from bridge.settings import Settings

if TYPE_CHECKING:
    from kombu import Queue

    from bridge.reporting.reporter import Reporter
    from bridge.reporting.run import Run

__all__ = ["connect", "enqueuing"]

logger = logging.getLogger(__name__)

#: Name of the header in which ``apply_async(headers=…)`` gives a job's title.
TITLE = "taskbridge_title"
#: Text that Flower and Celery's events show to operators instead of arguments.
REDACTED = "<redacted>"
#: Characters of the arguments that Celery shows to operators at most (its ``argsrepr_maxsize``).
MAX_SHOWN = 1024
#: Microseconds by which ``run`` in the header of a retry is ahead of the clock: a worker's parent
#: publishes the retry before it reports the execution that has failed.
AHEAD = 1_000_000


@dataclass(frozen=True, slots=True)
class Enqueuing:
    """Owner and settings of the messages that a context publishes."""

    owner: str | None
    settings: Settings
    redact: bool = False
    title: str | None = None
    #: Id of the job that is repeated; None for none.
    again_of: str | None = None
    #: Whether its task goes on from that job's checkpoint.
    resume: bool = False
    #: What travels of the call, for the archive; None to take it from the message.
    call: Kept | None = None
    #: Endpoint to which the archive delivers the end of the job; None for none.
    webhook: str | None = None


_enqueuing: ContextVar[Enqueuing | None] = ContextVar("taskbridge_enqueuing", default=None)


@contextlib.contextmanager
def enqueuing(
    owner: str | None,
    settings: Settings,
    redact: bool = False,
    title: str | None = None,
    again_of: str | None = None,
    resume: bool = False,
    call: Kept | None = None,
    webhook: str | None = None,
) -> Iterator[None]:
    """Track the messages that are published inside the ``with`` block; each call is one job.

    Args:
        owner: owner of the jobs; None for none.
        settings: broker and channel of their events.
        redact: whether the arguments of all tasks of the jobs are hidden from operators.
        title: what the jobs are called; default None, for the ``TITLE`` header of a message.
        again_of: id of the job that they repeat; default None for none.
        resume: whether their task goes on from that job's checkpoint; default not.
        call: what travels of the call, for the archive; default None, to take it from the message.
        webhook: endpoint to which the archive delivers their ends; default None for none.
    """
    connect()
    asked = Enqueuing(owner, settings, redact, title, again_of, resume, call, webhook)
    token = _enqueuing.set(asked)
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
    exchange: object = None,
    routing_key: str | None = None,
    **_: object,
) -> None:
    queue = _queue(declare, exchange, routing_key)
    to: Header = {"queue": queue} if queue else {}
    if (before := header_of(headers.get(HEADER))) is not None:
        # A retry, which may run on a host whose clock is behind this one's.
        headers[HEADER] = {**before, **to, "run": run_after(before) + AHEAD}
    if here := current_job.running(headers["id"]):
        here[0].queue = queue
        _settle(*here)
    if asked := _enqueuing.get() or _spawning():
        if call := calls.current():
            call.adopt(headers)
        counts = _counts(headers, body)
        header: Header = {"owner": asked.owner, "at": time.time(), **counts, **to, **_order()}
        if expires := outcomes.moment(headers.get("expires")):
            header["expires_at"] = expires
        if title := asked.title or _title(headers):
            header["title"] = title
        if asked.again_of:
            header["again_of"] = asked.again_of
        if asked.resume:
            header["resume"] = True
        if asked.webhook:
            header["webhook"] = asked.webhook
        if asked.redact:
            header["redact"] = True  # the tasks that it spawns inherit this
        if asked.redact or is_redacted(sender, asked.settings):
            headers["argsrepr"] = headers["kwargsrepr"] = REDACTED
        if sender not in INTERNAL:
            flower_progress.note_job(headers, asked.owner, asked.settings.url)
        headers.setdefault(HEADER, header)
        emitter_for(asked.settings)  # created now, so that it does not delay `queued`


def _settle(run: Run, emitter: Reporter) -> None:
    """Let all be sent and stored that an attempt has said, before the next one can begin.

    The next attempt's first event makes what comes later from this one stale.
    """
    if run.checkpoints is not None:
        run.checkpoints.settle()
    fork_relay.settle(run)
    emitter.flush(TASK_FLUSH)


def _queue(
    declare: Sequence[Queue] | None, exchange: object, routing_key: str | None
) -> str | None:
    """Return the name of the queue that a message is published to; None if that is not certain."""
    if (name := getattr(exchange, "name", exchange)) == "":
        return routing_key
    queue = declare[0] if declare else None
    return str(queue.name) if queue is not None and queue.exchange.name == name else None


def _title(headers: JSONObject) -> str | None:
    """Return the title that the publisher of a message gives its job in a header; None for none."""
    if (title := headers.get(TITLE)) is None or _enqueuing.get() is None:
        return None
    if reason := flaw(title):
        logger.warning("taskbridge: the header %s %s: the job has no title", TITLE, reason)
        return None
    return str(title)


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
    if run := run_of(headers, sender, begun=0):
        follow = canvas.first_ids(canvas.followers(_embedded(body), headers.get("group_index")))
        more = {**({"followers": follow} if follow else {}), **parent_of(headers)}
        data = {**repeated(headers[HEADER]), **more}
        data |= carried(_kept_call(asked, headers, body))
        emitter_for(asked.settings).put(run, "queued", data)


def _kept_call(asked: Enqueuing, headers: JSONObject, body: object) -> Kept | None:
    """Return what travels of a job's call, with the first message of the job; None with others."""
    call = calls.current()
    if _enqueuing.get() is None or (call is not None and call.published > 1):
        return None
    if asked.call is not None or not asked.settings.kept_argument_bytes:
        return asked.call
    if call is not None or not isinstance(body, tuple | list) or len(body) < 2:
        return omitted("canvas")
    if any(canvas.followers(_embedded(body), None)):
        return omitted("canvas")
    args, kwargs = body[0], body[1]
    if asked.redact or _hides(headers, args, kwargs):
        return omitted("redacted")
    name = headers["task"]
    return kept({"name": name, "args": args, "kwargs": kwargs}, [name], {}, asked.settings)


def _hides(headers: JSONObject, args: object, kwargs: object) -> bool:
    """Whether the publisher of a message hides its arguments by Celery's own options."""
    # Behind what Celery shows, `flower_progress` has added the job.
    shown = {"argsrepr": args, "kwargsrepr": kwargs}
    return any(
        not str(headers.get(name) or "").startswith(saferepr(one, MAX_SHOWN))
        for name, one in shown.items()
    )


def _embedded(body: object) -> JSONObject:
    """Return the ``embed`` part of a message's body: what follows its task."""
    return body[2] if isinstance(body, tuple | list) and len(body) == 3 else {}


def _order() -> Header:
    """Return the ``run`` of a spawned task's header, which orders it after the current task."""
    if _enqueuing.get() is not None:
        return {}
    return {"run": run_after(getattr(current_task.request, HEADER))}


def _spawning() -> Enqueuing | None:
    """Return owner and settings of the tracked task that is publishing; None without one."""
    header = getattr(current_task.request, HEADER, None) if current_task else None
    if not header or (settings := installed.settings_or_none()) is None:
        return None
    return Enqueuing(header.get("owner"), settings, bool(header.get("redact")))
