"""``checkpoints_of``: the checkpoints of a task that a worker is about to run."""

from __future__ import annotations

import functools
from collections.abc import Callable

from bridge.checkpoints.attempt import Checkpoints
from bridge.checkpoints.records import Store, fences_of
from bridge.checkpoints.stores import store_in
from bridge.checkpoints.storing import Place
from bridge.protocol.json_types import JSONObject
from bridge.results.bounded_calls import bounded_calls_for
from bridge.settings import Settings
from bridge.untyped import CeleryApp

__all__ = ["checkpoints_of"]


def checkpoints_of(
    app: CeleryApp,
    task: str,
    execution: JSONObject,
    settings: Settings,
    share: Callable[[], float | None],
    complain: Callable[[str], None],
) -> Checkpoints:
    """Return the checkpoints of an execution; no store is called before there is one.

    Args:
        app: the task's application.
        task: id of the task.
        execution: ``attempt``, ``redelivered`` and ``replaced`` as Celery knows them.
        settings: where checkpoints are stored, if not in the application's result backend.
        share: see :class:`Checkpoints`.
        complain: see :class:`Checkpoints`.
    """
    replaced = execution.get("replaced", 0)
    # A task that has replaced another one has its id, and begins anew.
    key = f"{task}-{replaced}" if replaced else task
    place = Place(
        key,
        lambda: _store(app, settings),
        lambda: bounded_calls_for(_application(app, settings), "checkpoints"),
    )
    return Checkpoints(place, fences_of(execution), share, complain)


def _store(app: CeleryApp, settings: Settings) -> Store | None:
    # The backend is of the thread that calls.
    return store_in(_application(app, settings).backend, settings.checkpoint_retention)


def _application(app: CeleryApp, settings: Settings) -> CeleryApp:
    """Return the Celery application of which the result backend stores the checkpoints."""
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
