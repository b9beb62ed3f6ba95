"""Ends a task that raises ``JobCancelled`` as Celery ends a task that it revokes: as REVOKED.

``JobCancelled`` is no ``Exception``, so that no handler and no retry of the task swallows it.
Celery would end the process of a task that raises such an error, so it is raised only while the
task's body runs, and replaced here where the body ends.

It may come amid a library's call, as may the exit of a process that is told to end: what a library
then raises while it cleans up is a consequence, and not the end of the task.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from celery import states
from celery.exceptions import Ignore, Reject, Retry, TaskRevokedError

from bridge.errors import JobCancelled
from bridge.reporting import current_job
from bridge.untyped import CeleryApp, CeleryTask

__all__ = ["Revoked", "install"]

logger = logging.getLogger(__name__)

#: Maximum number of errors, each raised while the one before was handled, among which an
#: interruption is looked for.
MAX_CONTEXTS = 50


class Revoked(Ignore):
    """Raised out of a cancelled task; Celery acknowledges the task, and stores nothing of it."""


def install(app: CeleryApp, on_revoked: Callable[[CeleryTask], None]) -> None:
    """Wrap the bodies of an application's tasks; its worker calls this before it traces them.

    Args:
        app: the Celery application.
        on_revoked: called in a task that was cancelled, once REVOKED is stored.
    """
    for task in app.tasks.values():
        if not hasattr(task.run, "_taskbridge_body"):
            task.run = _revocable(task, task.run, on_revoked)


def _revocable(
    task: CeleryTask, body: Callable[..., object], on_revoked: Callable[[CeleryTask], None]
) -> Callable[..., object]:
    @functools.wraps(body)
    def run(*args: object, **kwargs: object) -> object:
        request = task.request
        # Called as a function, or eagerly, it is a part of the body of the task that calls it.
        if request.called_directly or request.is_eager:
            return body(*args, **kwargs)
        try:
            with _interruptible(request.id), _causes_first():
                return body(*args, **kwargs)
        except JobCancelled as error:
            _revoke(task, str(error))
            on_revoked(task)
            raise Revoked(str(error)) from None

    run._taskbridge_body = body  # type: ignore[attr-defined]
    return run


@contextmanager
def _causes_first() -> Iterator[None]:
    """Raise a cancel, or a process's exit, in place of an error that came of it."""
    try:
        yield
    except (Ignore, Reject, Retry):
        raise  # a retry has been published
    except Exception as error:
        if (cause := _interruption(error)) is None:
            raise
        logger.info("taskbridge: a task was interrupted, and raised %s", type(error).__name__)
        raise cause from None


def _interruption(error: BaseException) -> BaseException | None:
    """Return the ``JobCancelled`` or ``SystemExit`` that led to an error; None without one."""
    before, seen = error.__context__, 0
    while before is not None and seen < MAX_CONTEXTS:
        # A pool process that gets a signal exits with a negative code
        # (``billiard.common._shutdown_cleanup``); a task's own exit has another one.
        exits = isinstance(before, SystemExit) and isinstance(before.code, int) and before.code < 0
        if exits or isinstance(before, JobCancelled):
            return before
        before, seen = before.__context__, seen + 1
    return None


@contextmanager
def _interruptible(task_id: str) -> Iterator[None]:
    """Let the reports of a run raise ``JobCancelled``; those of handlers around its body do not."""
    if (here := current_job.running(task_id)) is None:
        yield
        return
    run = here[0]
    before, run.interruptible = run.interruptible, True
    try:
        yield
    finally:
        run.interruptible = before  # True where a body calls itself


def _revoke(task: CeleryTask, reason: str) -> None:
    """Store REVOKED for a task and for what follows it in its chain."""
    request = task.request
    ignored = task.ignore_result or getattr(request, "ignore_result", False)
    logger.info("taskbridge: task %s[%s] was cancelled", task.name, request.id)
    try:
        task.backend.mark_as_failure(
            request.id,
            TaskRevokedError(reason),
            request=request,
            store_result=not ignored or task.store_errors_even_if_ignored,
            call_errbacks=False,
            state=states.REVOKED,
        )
    except Exception as error:  # noqa: BLE001 - whatever a backend raises
        text = "taskbridge: REVOKED could not be stored for task %s: %s"
        logger.warning(text, request.id, error)
