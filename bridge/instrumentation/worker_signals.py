"""Signal handlers of workers, which send events; an application calls ``install(app)``."""

from __future__ import annotations

import logging
import signal as os_signals
import sys
from functools import partial
from weakref import WeakValueDictionary

from celery import signals
from celery.exceptions import WorkerLostError

from bridge import capture, forking, held_messages
from bridge.bus import embedded_transport, login
from bridge.bus.redelivery_time import redelivered_within
from bridge.cancelling import cancel_request, cancelled_jobs, revocation
from bridge.checkpoints.of_task import checkpoints_of, clear_checkpoint
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
from bridge.instrumentation.header import (
    HEADER,
    header_of,
    parent_of,
    repeated,
    resumed,
    run_of,
)
from bridge.protocol.event import EventType
from bridge.protocol.json_types import JobFailure, JSONObject
from bridge.reporting import current_job
from bridge.reporting.reporter import Reporter
from bridge.reporting.run import Run
from bridge.sending import fork_relay
from bridge.sending.process_emitters import TASK_FLUSH, emitter_for, flush_all
from bridge.settings import Settings
from bridge.untyped import (
    CeleryApp,
    CeleryConsumer,
    CeleryRequest,
    CeleryTask,
    CeleryWorker,
    KombuMessage,
)

__all__ = ["install"]

logger = logging.getLogger(__name__)

#: Ends after which a task has nothing to go on from.
FOR_GOOD = ("succeeded", "cancelled")
#: Distance of the number of a run that a worker's parent reports, in place of a child's, to that of
#: the publishing run: greater than the child's.
PARENT_AHEAD = 2
#: Signal that Celery sends to a pool process at a task's soft time limit; None on Windows.
SOFT_LIMIT = getattr(os_signals, "SIGUSR1", None)

_received: WeakValueDictionary[str, CeleryRequest] = WeakValueDictionary()


def install(app: CeleryApp, settings: Settings) -> None:
    """Connect the handlers, for ``bridge.install``; see there.

    Args:
        app: the Celery application.
        settings: what they name wins over the application's broker and result backend.
    """
    embedded_transport.register()
    installed.replace_settings(settings, app)
    publish_signals.connect()
    app.steps["consumer"].update({poison.Guard, dropped_messages.DroppedConsumer})
    for signal, handler in _HANDLERS:
        signal.connect(handler, weak=False, dispatch_uid=f"taskbridge.{handler.__name__}")
    cancel_request.install(app, installed.settings)
    held_messages.install(app)
    flower_progress.install()
    probe_task.install(app)
    fork_relay.install()
    forking.install()


def _on_prerun(task_id: str, task: CeleryTask, **_: object) -> None:
    if run := run_of(task.request, task.name):
        run.is_cancelled = cancelled_jobs.watch(run.job)
        run.interruptible = False
        run.capture = capture.kinds_for(task, run.owner, installed.settings())
        run.node = task.request.hostname
        emitter = emitter_for(installed.settings())
        run.checkpoints = checkpoints_of(
            task.app,
            run.task,
            run.execution,
            installed.settings(),
            lambda: run.share,
            partial(_complain, run, emitter),
            resumed(task.request.get(HEADER)),
        )
        emitter.add(run)
        current_job.enter(run, emitter)
        # The number of tasks is repeated in `started`: the task may end before `queued` arrives.
        told = {
            **repeated(task.request.get(HEADER)),
            **_redelivery(task),
            **parent_of(task.request),
        }
        emitter.put(run, "started", told)
        cancel_request.follow(run)
        capture.attach(run.capture, installed.settings())
        if installed.settings().store_progress:
            result_progress.track(run, task)
        flower_progress.track(run, task)


def _complain(run: Run, emitter: Reporter, why: str) -> None:
    """Tell the worker's operator, and the job's clients, why checkpoints are not stored."""
    logger.warning("taskbridge: checkpoints of task %s are not stored: %s", run.task, why)
    emitter.put_line(run, "log", "checkpoints are not stored, see the worker's log", "WARNING")


def _redelivery(task: CeleryTask) -> JSONObject:
    """Return the field ``redelivered_within`` of ``started``; empty for an unknown time."""
    within = redelivered_within(task.app) if task.acks_late else None
    return {} if within is None else {"redelivered_within": within}


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
        run.close_steps(kind, data)
        if run.checkpoints is not None:
            replaced = data.get("reason") == outcomes.REPLACED
            run.checkpoints.end(keep=kind not in FOR_GOOD and not replaced)
        emitter.put(run, kind, _with_queue(run, kind, data))
    elif parent := _parent_run(task_id, request, name):
        told = _with_queue(parent, kind, data)
        emitter_for(installed.settings()).put(parent, kind, told)


def _with_queue(run: Run, kind: EventType, data: JSONObject) -> JSONObject:
    """Return the data of an event; that of ``retrying`` names the queue, if it is known."""
    return {**data, "queue": run.queue} if kind == "retrying" and run.queue else data


def _parent_run(task_id: str, request: CeleryRequest | None, name: str) -> Run | None:
    """Return a run for the report of a worker's parent: no pool process runs the task (any more).

    Args:
        task_id: id of the task.
        request: request of a signal; default the one that the worker has received.
        name: name of the request's task.

    Returns:
        The run; None if the task is not tracked, or not known.
    """
    if request is not None:
        return run_of(request, name, ahead=PARENT_AHEAD)
    received = _received.get(task_id)
    if received is None:
        return None
    return run_of(received.request_dict, received.type, ahead=PARENT_AHEAD)


def _on_received(sender: CeleryConsumer, request: CeleryRequest, **_: object) -> None:
    _received[request.id] = request
    header = header_of(request.request_dict.get(HEADER))
    if header is not None:
        job, at = request.root_id or request.id, header.get("at")
        cancel_request.refuse_cancelled(sender, request, job, at, installed.settings())


def _on_success(sender: CeleryTask, result: object, **_: object) -> None:
    _report(sender.request.id, "succeeded", outcomes.result(result))


def _on_failure(sender: CeleryTask, task_id: str, exception: BaseException, **_: object) -> None:
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
        _clear_checkpoint(sender, request, begun=signum is not None)


def _clear_checkpoint(task: CeleryTask, request: CeleryRequest, *, begun: bool) -> None:
    """Remove the checkpoint of a cancelled task that no process of the pool runs (any more)."""
    if run := _parent_run(request.id, request, task.name):
        clear_checkpoint(task.app, run.task, run.execution, installed.settings(), begun=begun)


def _on_unknown(name: str, id: str, message: KombuMessage, **_: object) -> None:
    fields = {**(message.headers or {}), "id": id, "delivery_info": message.delivery_info}
    if run := run_of(fields, name[:255], ahead=PARENT_AHEAD):
        text = (
            f"no worker knows a task named {name}: check the name, or add its module to the worker"
        )
        error: JobFailure = {"class": "NotRegistered", "message": text}
        emitter_for(installed.settings()).put(run, "failed", {"error": error})


def _on_shutdown(**_: object) -> None:
    flush_all()


def _on_process_shutdown(**_: object) -> None:
    flush_all()
    # billiard now sends a last message, and the parent answers it with SIGTERM. Where the broker's
    # transport has no event loop, all processes of the pool share the lock of that queue. billiard
    # blocks SIGTERM in the main thread alone: any other thread would take it, and the process would
    # end with the lock held, which stops the pool for ever.
    os_signals.signal(os_signals.SIGTERM, lambda *_: sys.exit())


def _on_worker_init(sender: CeleryWorker, **_: object) -> None:
    revocation.install(sender.app, flower_progress.tell_revoked)
    flower_progress.prepare(sender)
    held_messages.answering(_received)
    _on_process_init()


def _on_process_init(**_: object) -> None:
    # Before the pool forks: each child would otherwise spend half a second on the imports.
    import bridge.bus.write_only_manager  # noqa: F401

    capture.prepare(installed.settings())


def _check_login(sender: CeleryWorker, **_: object) -> None:
    # Celery waits for a broker that is away, and treats one that refuses in the same way, with a
    # traceback a second, or ends with one.
    if told := login.refused(sender.app, installed.given_broker()):
        sys.stderr.write(f"taskbridge: {told}\n")
        sys.exit(1)


def _on_ready(**_: object) -> None:
    installed.announce()


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
    (signals.worker_init, _check_login),
    (signals.worker_init, _on_worker_init),
    (signals.worker_process_init, _on_process_init),
    (signals.worker_ready, _on_ready),
    (signals.worker_process_shutdown, _on_process_shutdown),
    (signals.worker_shutdown, _on_shutdown),
]
