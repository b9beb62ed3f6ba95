"""Cancel requests: how they reach workers, and the tasks that run in them.

Celery's remote control reaches all workers that listen at that moment. A worker's parent records
the job in memory that its processes share: the sender thread of a task's process looks there, and
the task's next bar step or ``job`` call raises ``JobCancelled``. A task that calls neither is
terminated after a grace period, where the pool can do that. A mark in the result backend reaches
workers that start later, and a solo worker, which does not listen while it runs a task.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator

from celery import signals

from bridge.cancelling import cancel_mark, cancelled_jobs
from bridge.periodic_thread import PeriodicThread
from bridge.reporting.run import Run
from bridge.results.bounded_calls import bounded_calls_for
from bridge.settings import Settings
from bridge.untyped import (
    CeleryApp,
    CeleryConsumer,
    CeleryRequest,
    CeleryWorker,
    ControlState,
    KombuConnection,
)

__all__ = [
    "COMMAND",
    "broadcast",
    "follow",
    "install",
    "marking",
    "refuse_cancelled",
    "unfollow",
]

logger = logging.getLogger(__name__)

#: Name of the remote control command.
COMMAND = "taskbridge_cancel"
#: Seconds: for a task that waited less than this in its queue, on a connection that is older and
#: brings commands as well, the result backend is not asked.
QUICK = 1.0

#: The connection on which this worker receives tasks, and the time of the first task on it.
_listening: tuple[KombuConnection | None, float] = (None, 0.0)
#: The application of a solo worker, which does not listen while it runs a task; None in others.
_deaf: CeleryApp | None = None
_ticker = PeriodicThread(
    "taskbridge-marks", "taskbridge: cannot tell whether jobs were cancelled: %s"
)


def broadcast(app: CeleryApp, job: str) -> None:
    """Send the cancel command for all tasks of ``job`` to all workers that are listening."""
    app.control.broadcast(COMMAND, arguments={"job": job})


@contextlib.contextmanager
def marking(app: Callable[[], CeleryApp], job: str) -> Iterator[None]:
    """Store the mark of a cancelled job while the ``with`` block runs.

    The exit of the block waits for it, for a bounded time. A mark that cannot be stored is logged,
    and nothing is raised.

    Args:
        app: returns the application whose result backend stores the mark.
        job: id of the job.
    """
    storing = None
    try:
        storing = bounded_calls_for(found := app()).begin(_store, found, job)
    except Exception as error:  # noqa: BLE001 - of an application that cannot be made, too
        _complain(job, error)
    try:
        yield
    finally:
        try:
            if storing is not None:
                storing.wait()
        except Exception as error:  # noqa: BLE001 - whatever a backend raises, or its missing driver
            _complain(job, error)


def _store(app: CeleryApp, job: str) -> None:
    cancel_mark.store(app.backend, job)


def _complain(job: str, error: Exception) -> None:
    logger.warning("taskbridge: workers that start later may run job %s: %s", job, error)


def is_marked(app: CeleryApp, job: str) -> bool:
    """Whether a mark of ``job`` is stored; False, with a warning, if the backend fails."""
    try:
        return bool(bounded_calls_for(app).ask(_look, app, job))
    except Exception as error:  # noqa: BLE001 - whatever a backend raises; the task is run then
        logger.warning("taskbridge: cannot tell whether job %s was cancelled: %s", job, error)
        return False


def _look(app: CeleryApp, job: str) -> bool:
    return cancel_mark.is_stored(app.backend, job)


def refuse_cancelled(
    consumer: CeleryConsumer,
    request: CeleryRequest,
    job: str,
    published: float | None,
    settings: Settings,
) -> None:
    """Revoke a task that a worker has just received, if its job was cancelled.

    Args:
        consumer: the worker's consumer.
        request: the worker's request of the task.
        job: id of the job.
        published: time of publishing, in seconds since the epoch by the publisher's clock; None
            if it is unknown.
        settings: settings with the broker and ``cancel_grace``.
    """
    missed = may_have_missed(consumer, published, settings)
    if not cancelled_jobs.knows(job) and missed and is_marked(consumer.app, job):
        cancelled_jobs.remember(job)
    if cancelled_jobs.knows(job):
        from celery.worker import state as worker_state

        worker_state.revoked.add(request.id)


def may_have_missed(consumer: CeleryConsumer, published: float | None, settings: Settings) -> bool:
    """Whether the cancel command for a task's job may not have reached this worker.

    Args:
        consumer: the worker's consumer.
        published: time of publishing, in seconds since the epoch by the publisher's clock; None
            if it is unknown.
        settings: settings with the broker, and with ``cancel_grace``, for which a cancelled task
            may run on, and publish other tasks of its job.
    """
    # Remote control reaches workers that listen: at the latest, a worker does when the first task
    # arrives on its connection. One that is busy for longer than messages are kept misses some.
    global _listening
    now = time.time()
    if _listening[0] is not consumer.connection:
        _listening = (consumer.connection, now)
    # The pools of greenlets take commands from another connection, and the embedded broker looks
    # for tasks and commands in turn: a task may come before a command that was sent earlier.
    if consumer.pool.is_green or settings.embedded:
        return True
    if published is None or published < _listening[1] + settings.cancel_grace + QUICK:
        return True
    return abs(now - published) > QUICK


def follow(run: Run) -> None:
    """In a solo worker, look for the mark of a run's job once a second."""
    if (app := _deaf) is None:
        return

    def look() -> None:
        if not run.cancelled and _look(app, run.job):
            run.cancelled = True

    _ticker.add(run.task, look)


def unfollow(task: str) -> None:
    """Stop looking for the mark."""
    _ticker.remove(task)


def install(app: CeleryApp, settings: Callable[[], Settings]) -> None:
    """Register the command, and the shared memory, in workers of ``app`` when they start.

    Args:
        app: the Celery application.
        settings: returns the settings; called when a command arrives.
    """

    def register(sender: CeleryWorker, **_: object) -> None:
        # Imported here: a service does not need celery.worker.
        from celery.worker.control import Panel

        from bridge.cancelling.termination import cancel

        cancelled_jobs.share(sender)

        @Panel.register(type="control", name=COMMAND, args=[("job", str)], signature="<job>")
        def taskbridge_cancel(state: ControlState, job: str, **_: object) -> dict[str, str]:
            cancelled_jobs.remember(job)
            return cancel(state, job, settings())

    def on_ready(sender: CeleryWorker, **_: object) -> None:
        global _deaf
        from celery.concurrency.solo import TaskPool

        from bridge.results import parent_results

        _deaf = app if isinstance(sender.pool, TaskPool) else None
        parent_results.install(app, sender.pool)

    for name, signal, handler in (
        ("taskbridge.cancellation", signals.worker_init, register),
        ("taskbridge.cancelled", signals.worker_process_init, cancelled_jobs.adopt),
        ("taskbridge.ready", signals.worker_ready, on_ready),
    ):
        signal.connect(handler, weak=False, dispatch_uid=name)
