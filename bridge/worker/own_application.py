"""The Celery application of ``taskbridge worker --app``, installed where its module does not do it.

Celery finds it as an attribute of this module: ``celery -A bridge.worker.own_application:of.shop``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from celery import Celery
from celery.app.utils import find_app

from bridge.application import install
from bridge.errors import SettingsError, TaskbridgeError
from bridge.instrumentation.poison import Guard
from bridge.settings import Settings, without_keys
from bridge.untyped import CeleryApp
from bridge.worker import process
from bridge.worker.failed_import import explain, place

__all__ = ["load"]

#: Beginning of the attribute; the dot keeps it apart from this module's own names.
PREFIX = "of."


def __getattr__(name: str) -> CeleryApp:
    if not name.startswith(PREFIX):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        # Without keys: a worker neither signs nor verifies tokens.
        settings = Settings.from_environ(without_keys(os.environ))
        app = load(name.removeprefix(PREFIX))
        if Guard not in app.steps["consumer"]:
            install(app, settings, durable=True)
    except TaskbridgeError as error:
        process.end(error, 2)
    process.prepare(settings)
    return app


def load(name: str) -> CeleryApp:
    """Return the application of a module, or the one that a dotted name names.

    Raises:
        SettingsError: there is no such module, it cannot be imported, or has no application.
    """
    told = f"there is no Celery application in {name}: name it as --app MODULE:NAME"
    try:
        app = find_app(name)
    except TaskbridgeError:
        raise
    except ModuleNotFoundError as error:
        # `shop` has no attribute `app`, and no module of that name: the first is what is wrong.
        parent = name.rpartition(".")[0]
        if error.name == name and parent in sys.modules:
            raise SettingsError(told.replace(name, parent)) from None
        raise SettingsError(_missing(name, error)) from None
    except AttributeError as error:
        # Raised by Celery, or by the module itself.
        own = place(error.__traceback__)
        raise SettingsError(explain(name, error) if own else told) from None
    except Exception as error:  # noqa: BLE001 - whatever the module raises
        raise SettingsError(explain(name, error)) from None
    if not isinstance(app, Celery):
        raise SettingsError(told)
    return app


def _missing(name: str, error: ModuleNotFoundError) -> str:
    if error.name and f"{name}.".startswith(f"{error.name}."):
        return (
            f"there is no module {error.name} in {Path.cwd()} or on Python's path: start in the "
            "folder of your Celery application, or correct --app"
        )
    return explain(name, error)
