"""Cancelling: a worker is told by Celery's remote control, a running task by a file.

The file makes it work in every pool: the task's own sender looks for it, and the next bar or
``job`` call raises ``JobCancelled``. A task that never calls either is terminated after a grace.
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from celery import signals

from bridge.settings import Settings

__all__ = ["COMMAND", "broadcast", "flag", "install"]

logger = logging.getLogger(__name__)

#: Name of the remote control command.
COMMAND = "taskbridge_cancel"
#: Seconds after which the flag of a cancelled job is removed: longer than a job is expected to
#: wait in a queue before its first task looks for it.
FLAG_LIFE = 86_400.0


def flag(settings: Settings, job: str) -> Path:
    """Return the file whose existence means that ``job`` was cancelled, on this host."""
    return settings.home / "cancelled" / quote(job, safe="")


def broadcast(app: Any, job: str) -> None:
    """Tell all workers to cancel all tasks of ``job``."""
    app.control.broadcast(COMMAND, arguments={"job": job})


def install(app: Any, settings: Settings) -> None:
    """Teach workers of ``app`` the command, once they start."""

    def register(**_: Any) -> None:
        # Imported here: celery.worker is of no use to a service.
        from celery.worker.control import Panel

        @Panel.register(type="control", name=COMMAND, args=[("job", str)], signature="<job>")
        def taskbridge_cancel(state: Any, job: str, **_: Any) -> dict[str, Any]:
            return _cancel(state, job, settings)

    signals.worker_init.connect(register, weak=False, dispatch_uid="taskbridge.cancellation")


def _cancel(state: Any, job: str, settings: Settings) -> dict[str, Any]:
    from celery.worker import state as worker_state
    from celery.worker.control import _revoke

    _raise_flag(flag(settings, job))
    waiting: list[str] = [job]
    running: list[str] = []
    for request in list(worker_state.requests.values()):
        if (request.root_id or request.id) == job:
            group = running if request in worker_state.active_requests else waiting
            group.append(request.id)
    # The job's own id is revoked even if this worker has not seen it: it may come from the queue.
    _revoke(state, {task for task in waiting if task not in running})
    if running:
        _terminate_later(state, running, settings.cancel_grace)
    return {"ok": f"cancelling {len(running)} running and {len(waiting) - 1} waiting tasks"}


def _raise_flag(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    for old in file.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > FLAG_LIFE:
                old.unlink()
    file.touch()


def _terminate_later(state: Any, tasks: list[str], grace: float) -> None:
    from celery.worker import state as worker_state

    def terminate() -> None:
        for request in list(worker_state.active_requests):
            if request.id in tasks:
                logger.warning("taskbridge: %s did not stop in %s s: terminated", request.id, grace)
                _terminate(request, state.consumer.pool)

    state.consumer.timer.call_after(grace, terminate)


def _terminate(request: Any, pool: Any) -> None:
    try:
        request.terminate(pool, signal="SIGTERM")
    except NotImplementedError:
        logger.warning("taskbridge: this pool cannot terminate a task; it goes on until it ends")
