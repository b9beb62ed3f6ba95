"""The worker: of the shipped application, or of one that ``--app`` names."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bridge.cli.programs.process import SHIPPED, celery, execute, packages_of, require
from bridge.errors import SettingsError
from bridge.settings import Settings, without_keys

__all__ = ["run_worker", "split_app", "worker_command"]

#: What any other application is an attribute of, so that it is installed where it is not.
OWN = "bridge.worker.own_application:of."


def run_worker(arguments: Sequence[str]) -> None:
    """Replace this process by a worker.

    Args:
        arguments: those of ``celery worker``, and ``--app`` or ``-A``.
    """
    app, rest = split_app(arguments)
    require(*packages_of(app))
    environ = without_keys(os.environ)
    if app == SHIPPED:
        # By default, Celery waits without limit for running jobs, until its process manager kills
        # it. An application that is not durable would lose them at SIGQUIT.
        environ.setdefault("REMAP_SIGTERM", "SIGQUIT")
    settings = Settings.from_environ(environ)
    # Mingle and gossip are of use on an application's own broker, which no setting names.
    execute([*worker_command(settings, app, alone=app == SHIPPED), *rest], environ)


def split_app(arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Return the application that a worker's arguments name, and the others.

    By hand: click would take letters of Celery's joined options (``-lWARNING``) for ``-A``.
    """
    app, rest, given = SHIPPED, [], iter(arguments)
    for one in given:
        if one in ("-A", "--app"):
            app = next(given, "")
        elif one.startswith(("--app=", "-A")):
            app = one.removeprefix("--app=").removeprefix("-A").removeprefix("=")
        else:
            rest.append(one)
    if not app:
        raise SettingsError("--app needs the module of a Celery application: --app shop")
    return app, rest


def worker_command(settings: Settings, app: str, *, alone: bool = True) -> list[str]:
    """Return the command that runs a worker of a Celery application.

    Args:
        settings: settings of the worker.
        app: the application, as for ``celery -A``.
        alone: whether settings without a broker mean the embedded one.
    """
    # On one machine mingle and gossip are of no use, and delay the start by a second.
    quick = ["--without-mingle", "--without-gossip"] if alone and settings.embedded else []
    found = app if app == SHIPPED else f"{OWN}{app.replace(':', '.')}"
    return [*celery(found), "worker", "--loglevel", "INFO", *quick]
