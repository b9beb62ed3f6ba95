"""Signal handlers of workers, which send events; an application calls ``install(app)``."""

from __future__ import annotations

import logging
import signal as os_signals
from weakref import WeakValueDictionary

from celery import signals
from celery.exceptions import WorkerLostError

from bridge import capture
from bridge.bus import embedded_transport
from bridge.cancelling import cancel_request, cancelled_jobs
from bridge.errors import JobCancelled
from bridge.instrumentation import (
    dropped_messages,
    flower_progress,
    installed,
    outcomes,
    poison,
    probe_task,
    publish_signals,
    result_progress,
)
from bridge.instrumentation.publish_signals import HEADER, INTERNAL, Header, header_of
from bridge.protocol.event import EventType
from bridge.protocol.json_types import JobFailure, JSONObject
from bridge.reporting import current_job
from bridge.reporting.run import Run
from bridge.sending import fork_relay
from bridge.sending.emitter import emitter_for, flush_all
from bridge.settings import Settings
from bridge.untyped import CeleryApp, CeleryConsumer, CeleryRequest, CeleryTask, KombuMessage

__all__ = ["install"]

logger = logging.getLogger(__name__)

#: Seconds that the end of a task waits for its last event to be sent.
TASK_FLUSH = 2.0
#: Signal that Celery sends to a pool process at a task's soft time limit; None on Windows.
SOFT_LIMIT = getattr(os_signals, "SIGUSR1", None)

_received: WeakValueDictionary[str, CeleryRequest] = WeakValueDictionary()


def install(app: CeleryApp, settings: Settings | None = None) -> None:
    """Make the jobs of a Celery application watchable. A second call replaces the settings.

    Args:
        app: the Celery application.
        settings: default ``Settings.from_environ()``.

    Raises:
        SettingsError: a ``TASKBRIDGE_*`` variable is wrong.
    """
    embedded_transport.register()
    installed.replace_settings(settings or Settings.from_environ())
    publish_signals.connect()
    app.steps["consumer"].update({poison.Guard, dropped_messages.DroppedConsumer})
    for signal, handler in _HANDLERS:
        signal.connect(handler, weak=False, dispatch_uid=f"taskbridge.{handler.__name__}")
    cancel_request.install(app, installed.settings())
    flower_progress.install()
    probe_task.install(app)
    fork_relay.install()


def _run_of(task: CeleryTask) -> Run | None:
    """Return a new run of a task that is about to run; None if it is not tracked."""
    request = task.request
    header = header_of(getattr(request, HEADER, None))
    if header is None or task.name in INTERNAL:
        return None
    job, owner = request.root_id or request.id, header.get("owner")
    return Run(
        job=job,
        task=request.id,
        name=task.name,
        owner=owner,
        begun=publish_signals.run_after(header),
        execution=publish_signals.execution(request),
        is_cancelled=cancelled_jobs.watch(job),
        capture=capture.kinds_for(task, owner, installed.settings()),
        node=getattr(request, "hostname", None),
    )


def _on_prerun(task_id: str, task: CeleryTask, **_: object) -> None:
    if run := _run_of(task):
        emitter = emitter_for(installed.settings())
        emitter.add(run)
        current_job.enter(run, emitter)
        emitter.put(run, "started", _beginning(task.request))
        cancel_request.follow(run)
        capture.attach(run.capture, installed.settings())
        if installed.settings().store_progress:
            result_progress.track(run, task)
        flower_progress.track(run, task)


def _beginning(request: CeleryRequest) -> JSONObject:
    # The number of tasks is repeated in `started`: the task may end before `queued` arrives.
    return publish_signals.told(getattr(request, HEADER))


def _on_postrun(
    task_id: str, task: CeleryTask, retval: object = None, state: str | None = None, **_: object
) -> None:
    if here := current_job.running(task_id):
        run, emitter = here
        if not run.over and (untold := outcomes.untold(run, task, state, retval)):
            _report(task_id, *untold)
        current_job.leave(task_id)
        cancel_request.unfollow(task_id)
        result_progress.untrack(task_id)
        flower_progress.untrack(task_id)
        emitter.remove(run)
        emitter.flush(TASK_FLUSH)


def _report(
    task_id: str,
    kind: EventType,
    data: JSONObject,
    request: CeleryRequest | None = None,
    name: str = "",
) -> None:
    """Send an event about a task, from the process that runs it or from the worker's parent."""
    if here := current_job.running(task_id):
        run, emitter = here
        fork_relay.settle(run)
        run.over = True
        emitter.put(run, kind, data)
    elif parent := (_run_told(request, name) if request else _parent_run(task_id)):
        # No pool process runs the task (any more): the parent reports a run of its own.
        emitter_for(installed.settings()).put(parent, kind, data)


def _parent_run(task_id: str) -> Run | None:
    request = _received.get(task_id)
    if request is None:
        return None
    header = header_of(request.request_dict.get(HEADER))
    if header is None or request.type in INTERNAL:
        return None
    job = request.root_id or task_id
    return _parents(job, task_id, request.type, header, request.request_dict)


def _parents(
    job: str, task: str, name: str, header: Header, fields: JSONObject | CeleryRequest
) -> Run:
    """Return a run under which a worker's parent reports the end of an execution.

    Args:
        job: id of the job.
        task: id of the task.
        name: name of the task.
        header: taskbridge header of the task's message.
        fields: fields of the message; see :func:`publish_signals.execution`.
    """
    return Run(
        job=job,
        task=task,
        name=name,
        owner=header.get("owner"),
        begun=publish_signals.run_after(header, 2),  # greater than the child's number
        execution=publish_signals.execution(fields),
    )


def _run_told(request: CeleryRequest, name: str) -> Run | None:
    """Return a run for the parent's report, from the request of a signal; None if not tracked."""
    header = header_of(getattr(request, HEADER, None))
    if header is None or name in INTERNAL:
        return None
    job = request.root_id or request.id
    return _parents(job, request.id, name, header, request)


def _on_received(sender: CeleryConsumer, request: CeleryRequest, **_: object) -> None:
    _received[request.id] = request
    header = header_of(request.request_dict.get(HEADER))
    if header is not None:
        job, at = request.root_id or request.id, header.get("at")
        cancel_request.refuse_cancelled(sender, request, job, at, installed.settings())


def _on_success(sender: CeleryTask, result: object, **_: object) -> None:
    _report(sender.request.id, "succeeded", outcomes.result(result))


def _on_failure(sender: CeleryTask, task_id: str, exception: BaseException, **_: object) -> None:
    if isinstance(exception, JobCancelled):
        _report(task_id, "cancelled", {})
    else:
        kind: EventType = "lost" if isinstance(exception, WorkerLostError) else "failed"
        _report(task_id, kind, outcomes.failure(exception, sender, installed.settings()))


def _on_retry(
    sender: CeleryTask, request: CeleryRequest, reason: BaseException | None = None, **_: object
) -> None:
    if reason is not None:
        # From the request: the worker may have received the retry by now, under the same id.
        _report(
            request.id,
            "retrying",
            outcomes.retry(reason, installed.settings()),
            request,
            sender.name,
        )
    elif sender.acks_late:
        # The worker is stopping; its parent sends this signal.
        _report(request.id, "retrying", {"reason": outcomes.HANDED_BACK})
    else:
        _report(request.id, "lost", {"reason": outcomes.NOT_HANDED_BACK})


def _on_revoked(
    sender: CeleryTask,
    request: CeleryRequest,
    signum: int | str | None = None,
    expired: bool = False,
    **_: object,
) -> None:
    # At SOFT_LIMIT a task gets SoftTimeLimitExceeded, and its own process reports and stores how it
    # ended. Celery gives the signal as a number, or as the text of an exception.
    if signum is None or signum != SOFT_LIMIT:
        data = {"reason": outcomes.EXPIRED} if expired else {}
        _report(request.id, "cancelled", data, request, sender.name)


def _on_unknown(name: str, id: str, message: KombuMessage, **_: object) -> None:
    headers = message.headers or {}
    if (header := header_of(headers.get(HEADER))) is not None:
        job, fields = headers.get("root_id") or id, publish_signals.fields_of(message)
        run = _parents(job, id, name[:255], header, fields)
        text = (
            f"no worker knows a task named {name}: check the name, or add its module to the worker"
        )
        error: JobFailure = {"class": "NotRegistered", "message": text}
        emitter_for(installed.settings()).put(run, "failed", {"error": error})


def _on_shutdown(**_: object) -> None:
    flush_all()


def _on_worker_init(**_: object) -> None:
    # Before the pool forks: each child would otherwise spend half a second on the imports.
    import bridge.bus.write_only_manager  # noqa: F401

    capture.prepare(installed.settings())


_HANDLERS = [
    (signals.task_prerun, _on_prerun),
    (signals.task_postrun, _on_postrun),
    (signals.task_received, _on_received),
    (signals.task_success, _on_success),
    (signals.task_failure, _on_failure),
    (signals.task_retry, _on_retry),
    (signals.task_revoked, _on_revoked),
    (signals.task_unknown, _on_unknown),
    (signals.task_rejected, poison.on_rejected),
    (signals.worker_init, _on_worker_init),
    (signals.worker_process_init, _on_worker_init),
    (signals.worker_process_shutdown, _on_shutdown),
    (signals.worker_shutdown, _on_shutdown),
]
