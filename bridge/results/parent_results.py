"""Moves the result backend calls of a worker's parent to a separate thread.

Celery stores in the parent that a task was revoked, or that its process died. A result backend that
does not answer would block the parent, and with it all other cancels and all of its tasks.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
from collections.abc import Callable
from typing import TypeAlias

from bridge.errors import ResultsUnavailable
from bridge.results.bounded_calls import bounded_calls_for
from bridge.untyped import CeleryApp, CeleryPool, ResultBackend

__all__ = ["install", "store_now"]

logger = logging.getLogger(__name__)

#: Seconds that the parent waits for a call. A result that takes longer is stored later.
PATIENCE = 0.5

#: Whether the last attempt to store something failed, which is logged once.
_failing = False

#: Positional and keyword arguments of a backend's method.
Positional: TypeAlias = tuple[object, ...]
Named: TypeAlias = dict[str, object]


def install(app: CeleryApp, pool: CeleryPool) -> None:
    """Patch the backend so that this thread, a worker's main one, waits at most ``PATIENCE``.

    Args:
        app: the worker's application.
        pool: the worker's pool. In a solo pool, tasks run on this thread and store their own
            failures. In a greenlet pool, this greenlet receives tasks and cancels, and has a
            backend object of its own.
    """
    from celery.concurrency.solo import TaskPool

    backend, store = app.backend, functools.partial(_store, app)
    if pool.is_green:
        # The other methods may publish tasks, on connections that all greenlets share.
        _replace(backend, "store_result", store)
        return
    _replace(backend, "mark_as_revoked", store)
    if not isinstance(pool, TaskPool):
        _replace(backend, "mark_as_failure", store)
        # Celery reads a task's result or state with this method alone.
        _replace(backend, "_get_task_meta_for", functools.partial(_ask, app))


def store_now(app: CeleryApp, name: str, *args: object, **options: object) -> None:
    """Call a method of the backend that stores a result, and wait at most ``PATIENCE`` seconds.

    A failure is logged, and nothing is raised; a call that has not begun by then is not made.

    Args:
        app: the worker's application.
        name: name of the backend's method.
        args: its positional arguments.
        options: its keyword arguments.
    """
    try:
        _ask(app, name, args, options)
    except Exception as error:  # noqa: BLE001 - whatever a backend raises
        logger.error("taskbridge: what became of a task is not stored: %s", error)


def _replace(
    backend: ResultBackend, name: str, instead: Callable[[str, Positional, Named], object]
) -> None:
    original = getattr(backend, name, None)  # a backend without results lacks some
    if original is None or hasattr(original, "__wrapped__"):
        return
    here = os.getpid(), threading.get_ident()

    @functools.wraps(original)
    def method(*args: object, **options: object) -> object:
        # Processes forked later inherit the patched backend, and store their results directly.
        if (os.getpid(), threading.get_ident()) != here:
            return original(*args, **options)
        return instead(name, args, options)

    setattr(backend, name, method)


def _ask(app: CeleryApp, name: str, args: Positional, options: Named) -> object:
    return bounded_calls_for(app).ask(_call, app, name, args, options, within=PATIENCE)


def _store(app: CeleryApp, name: str, args: Positional, options: Named) -> None:
    global _failing
    try:
        bounded_calls_for(app).begin(_call, app, name, args, options, within=PATIENCE).wait()
        _failing = False
    except ResultsUnavailable as error:
        if not _failing:
            logger.error("taskbridge: how tasks ended is stored late, or not at all: %s", error)
        _failing = True


def _call(app: CeleryApp, name: str, args: Positional, options: Named) -> object:
    return getattr(app.backend, name)(*args, **options)
