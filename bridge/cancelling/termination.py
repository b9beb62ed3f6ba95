"""Ending the tasks of a cancelled job in a worker: what waits at once, what runs after a grace."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from typing import Any

from celery.concurrency.base import BasePool
from celery.worker import state as worker_state
from celery.worker.request import Request

from bridge.reporting.task_run import Run
from bridge.sending.emitter import emitter_for
from bridge.settings import Settings

__all__ = ["cancel"]

logger = logging.getLogger(__name__)

UNFORCED = "this worker's pool cannot force a task to end: it ends when it next reports something"


def cancel(state: Any, job: str, settings: Settings) -> dict[str, Any]:
    """Cancel all tasks of a job that this worker knows.

    Args:
        state: of the worker's remote control.
        job: its id.
        settings: how long what runs has to end by itself.

    Returns:
        Remote control's answer.
    """
    requests = {one for one in _known(state.consumer) if _job_of(one) == job}
    running = requests & set(worker_state.active_requests)
    waiting = requests - running
    # The job's own id is refused even if this worker has not seen it: it may come from the queue.
    # The result is left to the worker that refuses it. Celery's own command has each worker store
    # one, over that of a task which another has begun meanwhile.
    worker_state.revoked.update({job, *(one.id for one in waiting)} - {one.id for one in running})
    for request in running:
        _force_later(request, state.consumer, settings)
    for request in waiting:
        try:
            _drop(request, state.consumer)
        except Exception:  # of a result backend, say; the others are dropped all the same
            logger.exception("taskbridge: task %s could not be dropped", request.id)
    return {"ok": f"cancelling {len(running)} running and {len(waiting)} waiting tasks"}


def _known(consumer: Any) -> Iterator[Any]:
    yield from list(worker_state.requests.values())
    # The end of an attempt makes a worker forget the id of the next, if it has come already.
    for entry in list(consumer.timer.schedule.queue):
        if (args := entry.entry.args) and isinstance(args[0], Request):
            yield args[0]


def _job_of(request: Any) -> str:
    return str(request.root_id or request.id)


def _drop(request: Any, consumer: Any) -> None:
    """End a task that has not begun, without waiting for its turn."""
    if (entry := getattr(request, "_eta_timer_entry", None)) is not None:
        # It is to run later: nobody looks at it before.
        entry.cancel()
        request.revoked()
        consumer.qos.decrement_eventually()
    elif _can_terminate(consumer.pool) and request._apply_result is not None:
        # A process of the pool has it in its queue: it is terminated as soon as it says so.
        request.terminate(consumer.pool)


def _can_terminate(pool: Any) -> bool:
    """Whether it can end a task that does not want to."""
    return getattr(pool.terminate_job, "__func__", None) is not BasePool.terminate_job


def _force_later(request: Any, consumer: Any, settings: Settings) -> None:
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
        # Code that is not Python's own may never get to see the first signal. A process that has
        # ended meanwhile is none of the pool's any more.
        consumer.pool.terminate_job(request.worker_pid, getattr(signal, "SIGKILL", None))

    consumer.timer.call_after(settings.cancel_grace, force)
