"""Ends a cancelled job's tasks in a worker: waiting ones at once, running ones after a grace."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

from celery.concurrency.base import BasePool
from celery.worker import state as worker_state
from celery.worker.request import Request

from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from bridge.settings import Settings
from bridge.untyped import CeleryConsumer, CeleryPool, CeleryRequest, ControlState

__all__ = ["cancel"]

logger = logging.getLogger(__name__)

UNFORCED = "this worker's pool cannot force a task to end: it ends when it next reports something"


def cancel(state: ControlState, job: str, settings: Settings) -> dict[str, str]:
    """Cancel all tasks of a job that this worker knows.

    Args:
        state: state of the worker's remote control.
        job: id of the job.
        settings: settings with ``cancel_grace``, the seconds in which running tasks may end by
            themselves.

    Returns:
        The reply to the remote control command.
    """
    requests = {one for one in _known(state.consumer) if _job_of(one) == job}
    running = requests & set(worker_state.active_requests)
    waiting = requests - running
    # The job's own id is revoked even if this worker has not received it: it may be in the queue.
    # The worker that refuses a task stores its result. Celery's own command has each worker store
    # one, which overwrites that of a task which another worker has begun meanwhile.
    if job not in {one.id for one in running}:
        worker_state.revoked.add(job)
    # A retry has the id of the attempt before it, which counts as running until the worker's
    # parent has heard of its end.
    worker_state.revoked.update(one.id for one in waiting)
    for request in running:
        _force_later(request, state.consumer, settings)
    for request in waiting:
        try:
            _drop(request, state.consumer)
        except Exception:  # of the result backend, say; the other tasks are dropped all the same
            logger.exception("taskbridge: task %s could not be dropped", request.id)
    return {"ok": f"cancelling {len(running)} running and {len(waiting)} waiting tasks"}


def _known(consumer: CeleryConsumer) -> Iterator[CeleryRequest]:
    yield from list(worker_state.requests.values())
    # When an attempt ends, the worker removes the task's id from `requests`, even if it has
    # received the retry, which has the same id, by then: the retry is in the timer.
    for entry in list(consumer.timer.schedule.queue):
        if (args := entry.entry.args) and isinstance(args[0], Request):
            yield args[0]


def _job_of(request: CeleryRequest) -> str:
    return str(request.root_id or request.id)


def _drop(request: CeleryRequest, consumer: CeleryConsumer) -> None:
    """End a task that has not begun, without waiting until it would begin."""
    if (entry := getattr(request, "_eta_timer_entry", None)) is not None:
        # A task with an ETA: the worker would check for a revoke only when it is due.
        entry.cancel()
        request.revoked()
        consumer.qos.decrement_eventually()
    elif _can_terminate(consumer.pool) and request._apply_result is not None:
        # It is in the queue of a pool process, and is terminated once the process accepts it.
        request.terminate(consumer.pool)


def _can_terminate(pool: CeleryPool) -> bool:
    """Whether a pool can terminate a running task."""
    return getattr(pool.terminate_job, "__func__", None) is not BasePool.terminate_job


def _force_later(request: CeleryRequest, consumer: CeleryConsumer, settings: Settings) -> None:
    def force() -> None:
        if request not in worker_state.active_requests:
            return
        logger.warning("taskbridge: %s did not stop when it was cancelled", request.id)
        if not _can_terminate(consumer.pool):
            run = Run(job=_job_of(request), task=request.id, name="", begun=0)
            emitter_for(settings).put(run, "cancelling", {"reason": UNFORCED})
            return
        consumer.timer.call_after(settings.cancel_grace, kill)
        request.terminate(consumer.pool)

    def kill() -> None:
        # While C code runs, Python may never handle the first signal. If the process has ended
        # meanwhile, the pool does not have it any more, and does nothing.
        consumer.pool.terminate_job(request.worker_pid, getattr(signal, "SIGKILL", None))

    consumer.timer.call_after(settings.cancel_grace, force)
