"""Starts one program in place of this process, and checks what it would import."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from bridge.errors import SettingsError
from bridge.settings import Settings
from taskbridge_start import hidden

__all__ = ["ARCHIVE", "SERVER", "SHIPPED", "celery", "execute", "packages_of", "require"]

#: Application whose broker is that of the settings.
SHIPPED = "workers.app"
SERVER = [sys.executable, "-m", "socket_server"]
ARCHIVE = [sys.executable, "-m", "socket_server.archive"]


def require(*packages: str) -> None:
    """Check that ``python -m`` finds packages in this folder; name what it would find instead.

    Raises:
        SettingsError: a module of the folder, or of Python's path, hides one of them.
    """
    if told := hidden(*packages, folder=Path.cwd()):
        raise SettingsError(told)


def execute(command: list[str], environ: Mapping[str, str] | None = None) -> None:
    """Replace this process by another program.

    Args:
        command: path and arguments of the program.
        environ: environment of the program; default that of this process.
    """
    environ = os.environ if environ is None else environ
    Settings.from_environ(environ)  # reports a wrong setting here, in one sentence
    os.execve(command[0], command, environ)


def packages_of(app: str) -> tuple[str, ...]:
    """Return the packages that a worker of an application imports."""
    return ("bridge", "workers") if app == SHIPPED else ("bridge",)


def celery(app: str) -> list[str]:
    """Return the beginning of a command of Celery for an application."""
    return [sys.executable, "-m", "celery", "-A", app]
