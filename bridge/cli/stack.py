"""``taskbridge up``: runs servers, workers, an archive and Flower under honcho."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator

from bridge import extras
from bridge.cli.console import echo, echo_json, printer
from bridge.cli.programs.flower import FLOWER_PORT, flower_command, flower_environ
from bridge.cli.programs.process import ARCHIVE, SERVER, SHIPPED, packages_of, require
from bridge.cli.programs.worker import worker_command
from bridge.errors import SettingsError
from bridge.home import make_home
from bridge.settings import Settings, without_keys

__all__ = ["prepare", "print_variables", "up", "variables_of"]

#: Seconds that the import of an application may take.
IMPORT_PATIENCE = 60.0


def prepare(settings: Settings) -> Settings:
    """Make the home folder and, if no secret is set, a file in it with one, for this user alone."""
    make_home(settings.home)
    if not settings.secret:
        try:
            file = os.open(settings.home / "secret", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return settings
        with os.fdopen(file, "w") as secret:
            secret.write(secrets.token_urlsafe(48))
    return settings


def variables_of(app: str) -> dict[str, str]:
    """Return variables that name an application's broker and results where no setting does.

    The application is imported in a process of its own, for it may patch the standard library. If
    that fails, there are no variables, and the worker says why.

    Args:
        app: module of the application, as for ``celery -A``.
    """
    code = "import sys; from bridge.cli import stack; stack.print_variables(sys.argv[1])"
    command, quiet = [sys.executable, "-c", code, app], subprocess.DEVNULL
    try:
        told = subprocess.check_output(command, stderr=quiet, timeout=IMPORT_PATIENCE)
        found: dict[str, str] = json.loads(told.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return {}
    return found


def print_variables(app: str) -> None:
    """Print the variables of :func:`variables_of`, as a line of JSON."""
    from celery.app.utils import find_app

    from bridge.bus.app_broker import settings_with_app

    given = Settings.from_environ()
    found = settings_with_app(given, find_app(app)).settings
    urls = {
        "TASKBRIDGE_BROKER_URL": None if given.broker_url else found.broker_url,
        "TASKBRIDGE_RESULT_URL": None if given.result_url else found.result_url,
    }
    echo_json({name: url for name, url in urls.items() if url})


def up(broker_url: str | None, *, app: str, workers: int, servers: int, flower: bool = True) -> int:
    """Run the stack until a signal, or until one of its processes ends.

    Returns:
        Exit status: 0 after Ctrl-C or SIGTERM, else that of the process which failed, or 1.
    """
    from honcho.manager import Manager

    require("bridge", "socket_server", *packages_of(app))
    mode = Settings.from_environ().async_mode
    extras.demand("server", mode, *["worker"] * (app == SHIPPED), *["flower"] * flower)
    if broker_url:
        os.environ["TASKBRIDGE_BROKER_URL"] = broker_url
    if app != SHIPPED:
        os.environ.update(variables_of(app))  # the server must read the broker that workers use
    settings = prepare(Settings.from_environ())
    extras.demand(*extras.of_urls(settings.broker, settings.events))
    if settings.shards > 1:
        raise SettingsError(
            "`taskbridge up` has no balancer that finds a job's shard: unset TASKBRIDGE_SHARDS"
        )
    settings = _with_archive(settings)
    ports = _ports(settings, servers)
    flower_port = next(_free(FLOWER_PORT)) if flower else None
    manager = Manager(printer())
    for name, command, variables in _processes(settings, app, workers, ports, flower_port):
        manager.add_process(name, shlex.join(command), env=variables)
    url = f"http://{'127.0.0.1' if settings.host == '0.0.0.0' else settings.host}:{ports[0]}"
    _note(settings, url, flower_port)
    try:
        manager.loop()
    finally:
        (settings.home / "url").unlink(missing_ok=True)
    return 0 if manager.returncode in (0, 130, 143) else manager.returncode or 1


def _with_archive(settings: Settings) -> Settings:
    """Return settings with an archive in SQLite, where none is named and its extra is installed."""
    if settings.archive_url is not None:
        extras.demand("archive", *extras.of_database(settings.archive_url))
        return settings
    if absent := extras.missing("archive"):
        echo(f"archive  none: {absent}")
        return settings
    return settings.replace(archive_url=_own_archive(settings))


def _own_archive(settings: Settings) -> str:
    return f"sqlite:///{(settings.home / 'archive.sqlite').absolute()}"


def _processes(
    settings: Settings, app: str, workers: int, ports: list[int], flower_port: int | None
) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    common = {"PYTHONUNBUFFERED": "1", "TASKBRIDGE_HOME": str(settings.home.absolute())}
    if settings.archive_url == (url := _own_archive(settings)):
        common["TASKBRIDGE_ARCHIVE_URL"] = url
    if flower_port and settings.flower_url is None:
        common["TASKBRIDGE_FLOWER_URL"] = f"http://127.0.0.1:{flower_port}"
    for number, port in enumerate(ports, start=1):
        yield f"server.{number}", SERVER, {**os.environ, **common, "TASKBRIDGE_PORT": str(port)}
    for number in range(1, workers + 1):
        # A soft shutdown hands running jobs back; a warm one would wait for their ends.
        variables = {**without_keys(os.environ), **common, "REMAP_SIGTERM": "SIGQUIT"}
        yield f"worker.{number}", worker_command(settings, app), variables
    if settings.archive_url:
        unset = ("TASKBRIDGE_RESULT_URL", "TASKBRIDGE_RESULT_URL_FILE")
        known = without_keys(os.environ, webhooks=True)
        kept = {name: one for name, one in known.items() if name not in unset}
        yield "archive", ARCHIVE, {**kept, **common}
    if flower_port:
        yield "flower", flower_command(app, flower_port), {**flower_environ(settings), **common}


def _note(settings: Settings, url: str, flower_port: int | None) -> None:
    (settings.home / "url").write_text(url)
    echo(f"page     {url}/")
    if flower_port:
        echo(f"Flower   http://127.0.0.1:{flower_port}/")
    if settings.embedded:
        echo("broker   embedded: for one machine, not for production")
    if settings.tasks:
        echo('token    taskbridge token --owner me --scope "watch cancel enqueue"')
    else:
        echo('token    taskbridge token --owner me --scope "watch cancel"')
        echo("clients  may enqueue nothing: TASKBRIDGE_TASKS names the tasks that they may")


def _ports(settings: Settings, servers: int) -> list[int]:
    """Return free ports for the servers, from the configured port on.

    Raises:
        SettingsError: ``TASKBRIDGE_PORT`` is set and in use, or too few ports are free.
    """
    if "TASKBRIDGE_PORT" in os.environ and not _is_free(settings.port):
        raise SettingsError(f"port {settings.port} is in use: set TASKBRIDGE_PORT to a free one")
    free = _free(settings.port)
    return [next(free) for _ in range(servers)]


def _free(first: int) -> Iterator[int]:
    ports = (port for port in range(first, min(first + 1000, 65536)) if _is_free(port))
    yield from ports
    raise SettingsError(f"no free port from {first} on: set TASKBRIDGE_PORT")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
