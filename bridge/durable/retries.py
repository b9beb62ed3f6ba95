"""Stores the state RETRY before a retry is published.

Celery stores it afterwards. The next attempt can have ended by then, since publishing waits for the
broker's confirm, and RETRY would overwrite its result for good.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TypeVar

from celery.app.task import get_actual_ignore_result
from celery.exceptions import Retry

from bridge.protocol.json_types import JSONObject
from bridge.untyped import CeleryRequest, CeleryTask, ResultBackend

__all__ = ["leave_stored", "stored_first"]

logger = logging.getLogger(__name__)

R = TypeVar("R")


def stored_first(retry: Callable[..., R]) -> Callable[..., R]:
    """Return a ``Task.retry`` that stores RETRY and then calls ``retry``.

    Args:
        retry: the ``retry`` method of a task class; see :meth:`celery.Task.retry`.
    """

    def method(
        self: CeleryTask,
        args: Iterable[object] | None = None,
        kwargs: JSONObject | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: object,
    ) -> R:
        limit = self.max_retries if max_retries is None else max_retries
        if _is_published(self.request, limit):
            _store_retry(self, exc)
        return retry(self, args, kwargs, exc, throw, eta, countdown, max_retries, **options)

    return method


def _is_published(request: CeleryRequest, limit: int | None) -> bool:
    if request.called_directly or request.is_eager:
        return False
    return limit is None or request.retries < limit


def _store_retry(task: CeleryTask, exc: BaseException | None) -> None:
    request, backend = task.request, task.backend
    if get_actual_ignore_result(task, request) and not task.store_errors_even_if_ignored:
        return
    error = Retry(exc=exc).exc  # in Celery's form, which can be encoded
    lines = traceback.format_exception(error) if error else traceback.format_stack()
    try:
        backend.mark_as_retry(request.id, error, "".join(lines), request=request)
    except Exception as failure:  # noqa: BLE001 - whatever a backend raises
        logger.error("taskbridge: task %s: its retry is not stored: %s", request.id, failure)
    leave_stored(backend, request)


def leave_stored(backend: ResultBackend, request: CeleryRequest) -> None:
    """Make ``backend`` ignore Celery's later attempt to store RETRY for a request.

    Args:
        backend: result backend by which Celery will store it.
        request: the task's request (:class:`celery.app.task.Context`).
    """
    request.retry_is_stored = True
    if "mark_as_retry" not in vars(backend):
        backend.mark_as_retry = partial(_mark_as_retry, backend.mark_as_retry)


def _mark_as_retry(
    mark: Callable[..., R], *args: object, request: CeleryRequest | None = None, **options: object
) -> R | None:
    if getattr(request, "retry_is_stored", False):
        return None
    return mark(*args, request=request, **options)
