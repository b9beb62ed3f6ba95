"""Cancelling: a worker is told by Celery's remote control, a running task by a file.

The file makes it work in every pool: the task's own sender looks for it, and the next bar or
``job`` call raises ``JobCancelled``. A task that never calls either is terminated after a grace,
where the pool can do that. Remote control reaches only workers that listen at that moment, so a
mark in the result backend tells those that come later.
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from celery import signals

from bridge import cancel_mark
from bridge.home import private_folder
from bridge.settings import Settings

__all__ = ["COMMAND", "broadcast", "flag", "install", "mark", "refuse_cancelled"]

logger = logging.getLogger(__name__)

#: Name of the remote control command.
COMMAND = "taskbridge_cancel"
#: Seconds after which the flag of a cancelled job is removed: longer than a job is expected to
#: wait in a queue before its first task looks for it.
FLAG_LIFE = 86_400.0
#: Seconds: what waited less in its queue, on a connection that this worker has had for longer,
#: needs no look into the result backend.
QUICK = 1.0
#: The connection on which this worker receives tasks, and when it received the first.
_listening: tuple[Any, float] = (None, 0.0)


def flag(settings: Settings, job: str) -> Path:
    """Return the file whose existence means that ``job`` was cancelled, on this host."""
    return settings.home / "cancelled" / quote(job, safe="")


def broadcast(app: Any, job: str) -> None:
    """Tell all workers that listen now to cancel all tasks of ``job``."""
    app.control.broadcast(COMMAND, arguments={"job": job})


def mark(app: Any, job: str, settings: Settings) -> None:
    """Leave word of it for workers that do not listen now.

    Args:
        app: whose result backend remembers it, for as long as it remembers results.
        job: its id.
        settings: with the embedded broker all workers are on this machine, and see its flag.
    """
    if settings.embedded:
        raise_flag(flag(settings, job))
    cancel_mark.store(app.backend, job)


def is_marked(app: Any, job: str) -> bool:
    """Whether word was left that ``job`` was cancelled; False where that cannot be found out."""
    try:
        return cancel_mark.is_stored(app.backend, job)
    except Exception as error:  # noqa: BLE001 - whatever a backend raises; the task is run then
        logger.warning("taskbridge: cannot tell whether job %s was cancelled: %s", job, error)
        return False


def refuse_cancelled(
    consumer: Any, request: Any, job: str, published: float | None, settings: Settings
) -> None:
    """See to it that a task which a worker has just received never runs if its job was cancelled.

    Args:
        consumer: the worker's.
        request: of the task.
        job: its id.
        published: seconds since the epoch, by the clock of who published the task.
        settings: where flags are.
    """
    file = flag(settings, job)
    unheard = may_have_missed(consumer, published)
    cancelled = file.exists()
    if not cancelled and unheard and is_marked(consumer.app, job):
        raise_flag(file)
        cancelled = True
    if cancelled:
        from celery.worker import state as worker_state

        worker_state.revoked.add(request.id)


def may_have_missed(consumer: Any, published: float | None) -> bool:
    """Whether a task's job may have been cancelled without this worker being told.

    Args:
        consumer: the worker's.
        published: seconds since the epoch, by the clock of who published the task.
    """
    # Remote control reaches who listens: a worker does when the first task comes on a connection,
    # at the latest. It does not reach who is busy for longer than its messages are kept.
    global _listening
    now = time.time()
    if _listening[0] is not consumer.connection:
        _listening = (consumer.connection, now)
    if published is None or published < _listening[1] + QUICK:
        return True
    return abs(now - published) > QUICK


def install(app: Any, settings: Settings) -> None:
    """Teach workers of ``app`` the command, once they start."""

    def register(**_: Any) -> None:
        # Imported here: celery.worker is of no use to a service.
        from celery.worker.control import Panel

        from bridge.termination import cancel

        @Panel.register(type="control", name=COMMAND, args=[("job", str)], signature="<job>")
        def taskbridge_cancel(state: Any, job: str, **_: Any) -> dict[str, Any]:
            raise_flag(flag(settings, job))
            return cancel(state, job, settings)

    signals.worker_init.connect(register, weak=False, dispatch_uid="taskbridge.cancellation")


def raise_flag(file: Path) -> None:
    """Make the file, and remove those that have lived long enough."""
    private_folder(file.parent)
    for old in file.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > FLAG_LIFE:
                old.unlink()
    file.touch()
