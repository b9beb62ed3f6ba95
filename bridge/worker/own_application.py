"""The Celery application of ``taskbridge worker --app``, installed where its module does not do it.

Celery finds it as an attribute of this module: ``celery -A bridge.worker.own_application:of.shop``.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

from celery import Celery
from celery.app.utils import find_app

from bridge.application import install
from bridge.errors import SettingsError, TaskbridgeError
from bridge.instrumentation.poison import Guard
from bridge.settings import Settings, without_keys
from bridge.untyped import CeleryApp
from bridge.worker import process

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
        where = _place(error.__traceback__)
        raise SettingsError(told if where is None else _failed(name, error, where)) from None
    except Exception as error:  # noqa: BLE001 - whatever the module raises
        # Celery raises a ValueError again, as another.
        own = error.__context__ if type(error) is ValueError and error.__context__ else error
        raise SettingsError(_failed(name, own, _place(own.__traceback__))) from None
    if not isinstance(app, Celery):
        raise SettingsError(told)
    return app


def _missing(name: str, error: ModuleNotFoundError) -> str:
    if error.name and f"{name}.".startswith(f"{error.name}."):
        return (
            f"there is no module {error.name} in {Path.cwd()} or on Python's path: start in the "
            "folder of your Celery application, or correct --app"
        )
    return _failed(name, error, _place(error.__traceback__))


def _failed(name: str, error: BaseException, where: str | None) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}, line {error.lineno}"
    text = error.msg if isinstance(error, SyntaxError) else error
    reason = f"{type(error).__name__}: {text}"
    return f"{name} cannot be imported: {reason}" + (f" ({where})" if where else "")


def _place(trace: TracebackType | None) -> str | None:
    """Return file and line of the last frame in a file of the application's own; None for none."""
    paths = sysconfig.get_paths()
    others = (*site.getsitepackages(), paths["stdlib"], paths["purelib"], "<")
    ours = str(Path(__file__).parents[1])
    frames = [
        frame
        for frame in traceback.extract_tb(trace)
        if not frame.filename.startswith((*others, ours))
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else None
