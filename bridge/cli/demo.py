"""``taskbridge demo``: everything started, one real job run and watched, everything ended."""

from __future__ import annotations

import contextlib
import os
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

from bridge.cli.console import echo
from bridge.cli.stack import prepare
from bridge.cli.watch import follow
from bridge.client import Bridge
from bridge.errors import TaskbridgeError
from bridge.settings import Settings

__all__ = ["run"]

OWNER = "demo"
#: Seconds for the stack to come up, on a slow machine that has never imported any of it.
START = 90.0
#: Seconds that the processes are given to end before they are killed.
STOP = 8.0
TOKEN_TTL = 24 * 3600.0


def run(path: Path | None, *, once: bool) -> int:
    """Run the demonstration.

    Args:
        path: folder to checksum; default Python's own standard library.
        once: exit after the job instead of staying up.

    Returns:
        Exit status: the job's.
    """
    folder = (path or Path(sysconfig.get_paths()["stdlib"])).absolute()
    settings = Settings.from_environ()
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A home of its own, so that a demo never meets another stack of this folder.
    home = Path(tempfile.mkdtemp(prefix="demo-", dir=settings.home)).absolute()
    try:
        with _stack(prepare(settings.replace(home=home))) as started:
            return _show(started, folder, settings.home.absolute(), once=once)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _show(settings: Settings, folder: Path, keep: Path, *, once: bool) -> int:
    bridge = Bridge(settings=settings)
    manifest = keep / "checksum.sha256"
    echo(f"checksum of {folder}")
    kwargs = {"path": str(folder), "output": str(manifest)}
    job = bridge.enqueue("workers.jobs.checksum", kwargs=kwargs, owner=OWNER)
    status = follow(bridge, job.id)
    if status == 0:
        echo(f"verify   cd {folder} && sha256sum --quiet -c {manifest}")
    if status == 130 or once:
        return status
    token = bridge.token(owner=OWNER, scope="watch cancel enqueue", ttl=TOKEN_TTL)
    echo(f"page     {settings.server_url}/#token={token}")
    echo("Ctrl-C ends the demo")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    return status


@contextlib.contextmanager
def _stack(settings: Settings) -> Iterator[Settings]:
    """Run ``taskbridge up`` in a session of its own until the block ends."""
    log = settings.home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge.cli", "up"],
            env={**os.environ, "TASKBRIDGE_HOME": str(settings.home), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        echo("starting the broker, a socket server, a worker and Flower …")
        _await_stack(settings, process, log)
        yield settings
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
        # honcho gives each process a group of its own: these are the stragglers.
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
