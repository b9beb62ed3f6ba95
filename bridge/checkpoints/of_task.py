"""The checkpoints of a task that a worker is about to run, or whose process was ended."""

from __future__ import annotations

import functools
from collections.abc import Callable

from bridge.checkpoints.attempt import Checkpoints
from bridge.checkpoints.records import Store, fences_of
from bridge.checkpoints.stores import store_in
from bridge.checkpoints.storing import Place, clear
from bridge.protocol.json_types import JSONObject
from bridge.results.bounded_calls import bounded_calls_for
from bridge.settings import Settings
from bridge.untyped import CeleryApp

__all__ = ["checkpoints_of", "clear_checkpoint", "store_application"]


def checkpoints_of(
    app: CeleryApp,
    task: str,
    execution: JSONObject,
    settings: Settings,
    share: Callable[[], float | None],
    complain: Callable[[str], None],
    former: str | None = None,
) -> Checkpoints:
    """Return the checkpoints of an execution; no store is called before there is one.

    Args:
        app: the task's application.
        task: id of the task.
        execution: ``attempt``, ``redelivered`` and ``replaced`` as Celery knows them.
        settings: where checkpoints are stored, if not in the application's result backend.
        share: see :class:`Checkpoints`.
        complain: see :class:`Checkpoints`.
        former: id of the task of an earlier job whose checkpoint the first execution goes on from,
            and a later one that finds none of its own; default None for none.
    """
    place, fences = _place(app, task, execution, settings, former), fences_of(execution)
    # A first execution that goes on from another job's asks the store as a later one does.
    fences = fences if former is None else fences._replace(first=False)
    return Checkpoints(place, fences, share, complain)


def clear_checkpoint(
    app: CeleryApp, task: str, execution: JSONObject, settings: Settings, *, begun: bool
) -> None:
    """Let the checkpoint of a task be removed that does not run again; never waits.

    For a worker's parent, after it has ended the process of a task: the task's own process removes
    the checkpoint otherwise.

    Args:
        app: the task's application.
        task: id of the task.
        execution: see :func:`checkpoints_of`.
        settings: see :func:`checkpoints_of`.
        begun: whether the execution has begun; a first one that has not has stored nothing.
    """
    fences = fences_of(execution)
    if begun or not fences.first:
        place = _place(app, task, execution, settings)
        place.calls().offer(lambda: clear(place, fences.newer - 1, first=fences.first))


def _place(
    app: CeleryApp,
    task: str,
    execution: JSONObject,
    settings: Settings,
    former: str | None = None,
) -> Place:
    replaced = execution.get("replaced", 0)
    # A task that has replaced another one has its id, and begins anew.
    key = f"{task}-{replaced}" if replaced else task
    return Place(
        key,
        lambda: _store(app, settings),
        lambda: bounded_calls_for(store_application(app, settings), "checkpoints"),
        former,
    )


def _store(app: CeleryApp, settings: Settings) -> Store | None:
    # The backend is of the thread that calls.
    return store_in(store_application(app, settings).backend, settings.checkpoint_retention)


def store_application(app: CeleryApp, settings: Settings) -> CeleryApp:
    """Return the Celery application whose result backend stores checkpoints."""
    return app if settings.checkpoint_url is None else _made(settings)


@functools.cache
def _made(settings: Settings) -> CeleryApp:
    from celery import Celery

    from bridge.bus import tls

    assert settings.checkpoint_url is not None
    target = tls.target(settings, settings.checkpoint_url)
    app = Celery("taskbridge-checkpoints", set_as_current=False)
    secure = {"redis_backend_use_ssl": target.ssl} if target.ssl else {}
    app.conf.update(result_backend=target.url, **secure)
    return app
