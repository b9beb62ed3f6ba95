"""Celery's signals become events; ``install(app)`` is all that an application needs.

A tracked task carries a header, ``taskbridge``, from whoever enqueued it to everything that it
spawns; a task without it is left alone.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import signal as os_signals
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from celery import current_task, signals
from celery.exceptions import WorkerLostError

from bridge import cancellation, canvas, capture, current, outcome, probe, relay, results, transport
from bridge.emitter import emitter_for, flush_all
from bridge.errors import JobCancelled
from bridge.events import EventType
from bridge.run import Run
from bridge.settings import Settings

__all__ = ["HEADER", "enqueuing", "install"]

logger = logging.getLogger(__name__)

#: Header of a task's message that makes it, and what it spawns, part of a job.
HEADER = "taskbridge"
#: Seconds that the end of a task waits for its last event to be sent.
TASK_FLUSH = 2.0
#: Celery's own helpers, which nobody asked for and nobody wants to watch.
INTERNAL = frozenset({"celery.chord_unlock", "celery.backend_cleanup"})
#: Signal with which Celery tells a process that its soft time limit is over; None on Windows.
SOFT_LIMIT = getattr(os_signals, "SIGUSR1", None)
#: What of a task's header its first event tells.
TOLD = ("total", "more", "queue", "expires_at")


@dataclass(frozen=True, slots=True)
class Enqueuing:
    """Who is asking for what is published now, and how many tasks that will be."""

    owner: str | None
    total: int | None
    settings: Settings


_enqueuing: ContextVar[Enqueuing | None] = ContextVar("taskbridge_enqueuing", default=None)
_received: WeakValueDictionary[str, Any] = WeakValueDictionary()
_settings: list[Settings] = []


@contextlib.contextmanager
def enqueuing(owner: str | None, settings: Settings, total: int | None = None) -> Iterator[None]:
    """Track what is published inside the ``with`` block.

    Args:
        owner: whose jobs they are.
        settings: where their events go.
        total: how many tasks the job has, where that is known.
    """
    _connect_publishing()
    token = _enqueuing.set(Enqueuing(owner, total, settings))
    try:
        yield
    finally:
        _enqueuing.reset(token)


def install(app: Any, settings: Settings | None = None) -> None:
    """Make the jobs of a Celery application watchable. Calling it again does nothing new.

    Args:
        app: the Celery application.
        settings: default ``Settings.from_environ()``.

    Raises:
        SettingsError: a ``TASKBRIDGE_*`` variable is wrong.
    """
    transport.register()
    _settings[:] = [settings or Settings.from_environ()]
    _connect_publishing()
    for signal, handler in _HANDLERS:
        signal.connect(handler, weak=False, dispatch_uid=f"taskbridge.{handler.__name__}")
    cancellation.install(app, _settings[0])
    probe.install(app)
    relay.install()


@functools.cache
def _connect_publishing() -> None:
    for signal, handler in (
        (signals.before_task_publish, _before_publish),
        (signals.after_task_publish, _after_publish),
    ):
        signal.connect(handler, weak=False, dispatch_uid=f"taskbridge.{handler.__name__}")


def _before_publish(
    sender: str, headers: dict[str, Any], body: Any = None, declare: Any = None, **_: Any
) -> None:
    if asked := _enqueuing.get() or _spawning():
        counts = _counts(asked, headers, body)
        header = {"owner": asked.owner, "at": time.time(), **counts}
        if declare:
            header["queue"] = declare[0].name
        if expires := outcome.moment(headers.get("expires")):
            header["expires_at"] = expires
        headers.setdefault(HEADER, header)
        emitter_for(asked.settings)  # made now, so that `queued` is not late when it is known


def _counts(asked: Enqueuing, headers: dict[str, Any], body: Any) -> dict[str, int]:
    """Return how many tasks the job was planned to have, or how many more it has now."""
    if asked.total is not None:
        return {"total": asked.total}
    known = frozenset() if _enqueuing.get() is not None else _counted()
    if known is None or headers["id"] in known or (known and _is_callback(headers["task"])):
        return {}
    embed = body[2] if isinstance(body, tuple | list) and len(body) == 3 else {}
    follow = canvas.followers(embed, headers.get("group_index"))
    if known and (here := current.running(current_task.request.id)) and here[0].task in follow:
        here[0].republished = True
    return {"more": 1 + sum(task not in known for task in follow)}


def _is_callback(name: str) -> bool:
    """Whether it is published because it was linked to the current task, without an id."""
    here = current.running(current_task.request.id)
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


def _after_publish(sender: str, headers: dict[str, Any], **_: Any) -> None:
    # Only now: what could not be published was never queued.
    asked = _enqueuing.get() or _spawning()
    if asked is None or sender in INTERNAL:
        return
    if here := current.running(headers["id"]):
        # A task that is tried again, or replaced, publishes under its own id.
        here[0].republished = True
        return
    run = Run(job=headers["root_id"], task=headers["id"], name=sender, owner=asked.owner, begun=0)
    emitter_for(asked.settings).put(run, "queued", _told(headers[HEADER]))


def _told(header: dict[str, Any]) -> dict[str, Any]:
    return {name: header[name] for name in TOLD if name in header}


def _spawning() -> Enqueuing | None:
    """Return whose task is publishing, if a tracked task is."""
    header = getattr(current_task.request, HEADER, None) if current_task else None
    if not header or not _settings:
        return None
    return Enqueuing(header.get("owner"), None, _settings[0])


def _run_of(task: Any) -> Run | None:
    """Return a new run of a task that is about to run; None if it is not tracked."""
    request = task.request
    header = getattr(request, HEADER, None)
    if not isinstance(header, dict) or task.name in INTERNAL:
        return None
    job, owner = request.root_id or request.id, header.get("owner")
    return Run(
        job=job,
        task=request.id,
        name=task.name,
        owner=owner,
        flag=cancellation.flag(_settings[0], job),
        capture=capture.kinds_for(task, owner, _settings[0]),
    )


def _on_prerun(task_id: str, task: Any, **_: Any) -> None:
    if run := _run_of(task):
        emitter = emitter_for(_settings[0])
        emitter.add(run)
        current.enter(run, emitter)
        emitter.put(run, "started", _beginning(task.request))
        capture.attach(run.capture, _settings[0])
        if _settings[0].store_progress:
            results.track(run, task)


def _beginning(request: Any) -> dict[str, Any]:
    # How many tasks the job has travels with the task too: it may end before `queued` arrives.
    return {"attempt": (request.retries or 0) + 1, **_told(getattr(request, HEADER))}


def _on_postrun(task_id: str, task: Any, retval: Any = None, state: Any = None, **_: Any) -> None:
    if here := current.running(task_id):
        run, emitter = here
        if not run.over and (untold := outcome.untold(run, task, state, retval)):
            _report(task_id, *untold)
        current.leave(task_id)
        results.untrack(task_id)
        emitter.remove(run)
        emitter.flush(TASK_FLUSH)


def _report(
    task_id: str, kind: EventType, data: dict[str, Any], request: Any = None, name: str = ""
) -> None:
    """Tell what happened to a task, from its own process or from the worker's parent."""
    if here := current.running(task_id):
        run, emitter = here
        relay.settle(run)
        run.over = True
        emitter.put(run, kind, data)
    elif parent := _parent_run(task_id) or (request and _run_told(request, name)):
        # The child that ran it is gone or never was: the parent's word is a run of its own.
        emitter_for(_settings[0]).put(parent, kind, data)


def _parent_run(task_id: str) -> Run | None:
    request = _received.get(task_id)
    if request is None:
        return None
    header = request.request_dict.get(HEADER)
    if not isinstance(header, dict) or request.type in INTERNAL:
        return None
    job = request.root_id or task_id
    return Run(job=job, task=task_id, name=request.type, owner=header.get("owner"))


def _run_told(request: Any, name: str) -> Run | None:
    """Return a run of a task that was refused before the worker took it in."""
    header = getattr(request, HEADER, None)
    if not isinstance(header, dict) or name in INTERNAL:
        return None
    job = request.root_id or request.id
    return Run(job=job, task=request.id, name=name, owner=header.get("owner"))


def _on_received(sender: Any, request: Any, **_: Any) -> None:
    _received[request.id] = request
    header = request.request_dict.get(HEADER)
    if isinstance(header, dict):
        job, at = request.root_id or request.id, header.get("at")
        cancellation.refuse_cancelled(sender.app, request, job, at, _settings[0])


def _on_success(sender: Any, result: Any, **_: Any) -> None:
    _report(sender.request.id, "succeeded", outcome.result(result))


def _on_failure(sender: Any, task_id: str, exception: BaseException, **_: Any) -> None:
    if isinstance(exception, JobCancelled):
        _report(task_id, "cancelled", {})
    else:
        kind: EventType = "lost" if isinstance(exception, WorkerLostError) else "failed"
        _report(task_id, kind, outcome.failure(exception, sender, _settings[0]))


def _on_retry(sender: Any, request: Any, reason: Any = None, **_: Any) -> None:
    if reason is not None:
        _report(request.id, "retrying", outcome.retry(reason, _settings[0]))
    elif sender.acks_late:
        # The worker stops, and this is its parent's word.
        _report(request.id, "retrying", {"reason": outcome.HANDED_BACK})
    else:
        _report(request.id, "lost", {"reason": outcome.NOT_HANDED_BACK})


def _on_revoked(
    sender: Any, request: Any, signum: Any = None, expired: bool = False, **_: Any
) -> None:
    # By this signal a task is told that its soft time limit is over: it says itself what became of
    # it, and that is what Celery stores.
    # (Celery gives the signal as a number, or as the text of an exception.)
    if signum is None or signum != SOFT_LIMIT:
        data = {"reason": outcome.EXPIRED} if expired else {}
        _report(request.id, "cancelled", data, request, sender.name)


def _on_unknown(name: str, id: str, message: Any, **_: Any) -> None:
    headers = message.headers or {}
    if isinstance(header := headers.get(HEADER), dict):
        run = Run(job=headers.get("root_id") or id, task=id, name=name, owner=header.get("owner"))
        text = (
            f"no worker knows a task named {name}: check the name, or add its module to the worker"
        )
        error = {"class": "NotRegistered", "message": text}
        emitter_for(_settings[0]).put(run, "failed", {"error": error})


def _on_shutdown(**_: Any) -> None:
    flush_all()


def _on_worker_init(**_: Any) -> None:
    # Before the pool forks: each child would otherwise spend half a second on the imports.
    import bridge.writer  # noqa: F401

    capture.prepare(_settings[0])


_HANDLERS = [
    (signals.task_prerun, _on_prerun),
    (signals.task_postrun, _on_postrun),
    (signals.task_received, _on_received),
    (signals.task_success, _on_success),
    (signals.task_failure, _on_failure),
    (signals.task_retry, _on_retry),
    (signals.task_revoked, _on_revoked),
    (signals.task_unknown, _on_unknown),
    (signals.worker_init, _on_worker_init),
    (signals.worker_process_init, _on_worker_init),
    (signals.worker_process_shutdown, _on_shutdown),
    (signals.worker_shutdown, _on_shutdown),
]
