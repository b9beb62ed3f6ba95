"""Flower, for operators: without keys, and without a login to the result backend."""

from __future__ import annotations

import os

from bridge import extras
from bridge.bus import login
from bridge.cli.programs.process import SHIPPED, celery, execute, packages_of, require
from bridge.client.celery_app import new_app
from bridge.errors import BrokerUnavailable, SettingsError
from bridge.settings import Settings, without_keys

__all__ = ["FLOWER_PORT", "flower_command", "flower_environ", "run_flower"]

FLOWER_PORT = 5555
#: Loopback address.
HERE = "127.0.0.1"
#: Tasks that Flower holds at most, and seconds after which it removes an offline worker.
FLOWER_TASKS, FLOWER_OFFLINE = 10_000, 3600


def flower_environ(settings: Settings) -> dict[str, str]:
    """Return the environment of Flower: without keys, and without a login to the result backend.

    Flower shows the data of Celery's events. Only its API's ``/api/task/result`` reads results.
    """
    unset = ("TASKBRIDGE_RESULT_URL_FILE",)
    environ = {name: one for name, one in without_keys(os.environ).items() if name not in unset}
    return {**environ, **flower_variables(settings), "TASKBRIDGE_RESULT_URL": "disabled://"}


def flower_command(app: str, port: int = FLOWER_PORT, address: str = HERE) -> list[str]:
    """Return the command that runs Flower for a Celery application."""
    return [*celery(app), "flower", f"--address={address}", f"--port={port}"]


def flower_variables(settings: Settings) -> dict[str, str]:
    """Return Flower's settings as environment variables, which other users cannot read.

    Variables that are set already are left out.
    """
    said = {
        "FLOWER_BASIC_AUTH": settings.flower_auth,
        "FLOWER_BROKER_API": settings.broker_api,
        # Flower holds tasks and workers in memory.
        "FLOWER_MAX_TASKS": str(FLOWER_TASKS),
        "FLOWER_PURGE_OFFLINE_WORKERS": str(FLOWER_OFFLINE),
    }
    return {name: value for name, value in said.items() if value and name not in os.environ}


def run_flower(settings: Settings, port: int, address: str, arguments: tuple[str, ...]) -> None:
    """Replace this process by Flower.

    Raises:
        SettingsError: the address is not local, and Flower would require no login.
        BrokerUnavailable: the broker refuses the login, which Flower answers with tracebacks.
    """
    if address not in (HERE, "localhost", "::1") and not settings.flower_auth:
        raise SettingsError(
            f"Flower on {address} would let anybody read arguments and stop workers: set "
            "TASKBRIDGE_FLOWER_AUTH to user:password, or leave out --address"
        )
    require(*packages_of(SHIPPED))
    extras.demand("flower")
    if told := login.refused(new_app(settings, "disabled://"), settings.broker_url):
        raise BrokerUnavailable(told)
    command = [*flower_command(SHIPPED, port, address), *arguments]
    execute(command, flower_environ(settings))
