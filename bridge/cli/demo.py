"""``taskbridge demo``: starts the stack, runs and watches one real job, and stops the stack."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bridge import extras
from bridge.cli.console import echo
from bridge.cli.programs.process import require
from bridge.cli.stack import prepare
from bridge.cli.watch import follow
from bridge.client.bridge import Bridge
from bridge.errors import TaskbridgeError
from bridge.home import make_home
from bridge.settings import Settings

__all__ = ["run"]

OWNER = "demo"
#: Pattern of the tasks that clients may enqueue.
TASKS = "workers.jobs.*"
#: Seconds for the stack to start, on a slow machine that has never imported any of it.
START = 90.0
#: Seconds that the processes are given to end before they are killed.
STOP = 8.0
TOKEN_TTL = 24 * 3600.0


def run(path: Path | None, *, once: bool) -> int:
    """Run the demo.

    Args:
        path: folder to checksum; default Python's own standard library.
        once: exit after the job instead of staying up.

    Returns:
        Exit status: the job's.
    """
    require("bridge", "workers", "socket_server")
    extras.demand("server", Settings.from_environ().async_mode, "worker", "flower")
    folder = (path or Path(sysconfig.get_paths()["stdlib"])).absolute()
    keep = Settings.from_environ().home.absolute()
    make_home(keep)
    # A separate home, so that the demo shares nothing with another stack of this folder.
    home = Path(tempfile.mkdtemp(prefix="demo-", dir=keep))
    variables = {
        "TASKBRIDGE_HOME": str(home),
        "TASKBRIDGE_TASKS": TASKS,
        "TASKBRIDGE_INPUT_ROOTS": str(folder),
        "TASKBRIDGE_OUTPUT_ROOT": str(keep / "demo-output"),
    }
    try:
        settings = prepare(Settings.from_environ({**os.environ, **variables}))
        (keep / "demo-output").mkdir(mode=0o700, exist_ok=True)
        with _stack(settings, variables):
            return _show(settings, folder, once=once)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _show(settings: Settings, folder: Path, *, once: bool) -> int:
    bridge = Bridge(settings=settings)
    echo(f"checksum of {folder}")
    kwargs = {"path": str(folder), "output": "checksum.sha256"}
    job = bridge.enqueue("workers.jobs.checksum", kwargs=kwargs, owner=OWNER)
    status = follow(bridge, job.id)
    if status == 0:
        check = ["sha256sum", "--quiet", "-c", bridge.status(job.id)["result"]["manifest"]]
        echo(f"verify   {shlex.join(['cd', str(folder)])} && {shlex.join(check)}")
    if status == 130 or once:
        return status
    token = bridge.token(owner=OWNER, scope="watch cancel enqueue", ttl=TOKEN_TTL)
    echo(f"page     {settings.server_url}/#token={token}")
    echo("Ctrl-C ends the demo")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    return status


@contextlib.contextmanager
def _stack(settings: Settings, variables: dict[str, str]) -> Iterator[None]:
    """Run ``taskbridge up`` in a session of its own until the block ends."""
    log = settings.home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge.cli", "up"],
            env={**os.environ, **variables, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        echo("starting the broker, a socket server, a worker, an archive and Flower …")
        _await_stack(settings, process, log)
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        _end(process)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _await_stack(settings: Settings, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START
    bridge = Bridge(settings=settings)
    while not (_serving(settings) and bridge.app.control.ping(timeout=0.5, limit=1)):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise TaskbridgeError(f"the stack did not start; it said:\n{tail}")
        time.sleep(0.1)


def _serving(settings: Settings) -> bool:
    try:
        with urllib.request.urlopen(f"{settings.server_url}/healthz", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        # honcho starts each process in its own process group, so they are killed one by one.
        for child in _descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()


def _descendants(pid: int) -> list[int]:
    listing = subprocess.run(
        ["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=False
    ).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in listing.splitlines()}
    found: list[int] = []
    frontier = {pid}
    while frontier:
        frontier = {child for child, parent in parents.items() if parent in frontier}
        found.extend(frontier)
    return found
