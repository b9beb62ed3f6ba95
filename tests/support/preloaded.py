"""Workers and servers in processes that have imported the libraries already.

Importing them takes more CPU than all else of a start, and the suite starts hundreds of each.
Nothing of this project is imported before: its code is read with the environment of each process.
What tests of commands, of gevent and of several machines start imports all by itself, in its order.
"""

from __future__ import annotations

import _socket
import atexit
import faulthandler
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["DUMP_TRACEBACKS", "Forked", "start"]

#: What both import of other projects.
SHARED = [
    "celery.backends.database",
    "kombu.transport.pyamqp",
    "sqlalchemy.orm",
    "redis",
    "socketio",
]
#: What each imports of other projects.
LIBRARIES = {
    "worker": ["celery.bin.celery", "celery.apps.worker", "celery.concurrency.prefork", *SHARED],
    "server": ["eventlet.wsgi", "eventlet.websocket", "flask", "prometheus_client", *SHARED],
}
#: Signal at which such a process, and each that it forks, prints a traceback of each thread.
DUMP_TRACEBACKS = signal.SIGUSR2
#: Bytes of a request at most.
REQUEST = 1024 * 1024


class Forked:
    """A process that was forked, with what is used of ``subprocess.Popen``."""

    def __init__(self, pid: int, origin: Origin) -> None:
        self.pid, self._origin = pid, origin
        self._end = os.pidfd_open(pid)
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return its exit status; None while it runs."""
        if self._status is None and self._ends_within(0):
            self._reap()
        return self._status

    def wait(self, timeout: float) -> int:
        """Return its exit status once it has ended; see ``subprocess.Popen.wait``."""
        if self._status is None and not self._ends_within(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        self.send_signal(signal.SIGTERM)

    def _ends_within(self, seconds: float) -> bool:
        # ``select`` takes no file descriptor above 1,023, and some tests have thousands of clients.
        waiting = select.poll()
        waiting.register(self._end, select.POLLIN)
        return bool(waiting.poll(1000 * seconds))

    def _reap(self) -> None:
        os.close(self._end)
        self._status = os.waitstatus_to_exitcode(self._origin.ask({"reap": self.pid}))


class Origin:
    """A process that has imported the libraries, and forks another when it is asked to.

    Args:
        kind: a key of ``LIBRARIES``.
        env: its environment; of another's, what Python reads at its start.
    """

    def __init__(self, kind: str, env: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.preloaded", kind, str(theirs.fileno())],
                env={**env, "PYTHONPATH": _joined(str(TESTS), env.get("PYTHONPATH"))},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self._lock = threading.Lock()
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def ask(self, request: Mapping[str, Any], *streams: IO[bytes]) -> int:
        """Send a request; return what was answered."""
        data = json.dumps(request).encode()
        with self._lock:
            socket.send_fds(self._socket, [data], [one.fileno() for one in streams])
            return int(self._socket.recv(REQUEST))


TESTS = Path(__file__).resolve().parents[1]
_origins: dict[tuple[object, ...], Origin] = {}


def _joined(*paths: str | None) -> str:
    return os.pathsep.join(path for path in paths if path)


def start(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, output: IO[bytes]
) -> Forked | None:
    """Start a worker or a server in a session of its own; None for anything else.

    Args:
        argv: a command line, as of ``subprocess.Popen``.
        env: its whole environment.
        cwd: its working folder.
        output: file that receives stdout and stderr.
    """
    kind = _kind_of(argv, env) if hasattr(os, "pidfd_open") else None
    if kind is None:
        return None
    early = {name: value for name, value in env.items() if name.startswith(("PYTHON", "LD_"))}
    key = (kind, *sorted(early.items()))
    if key not in _origins:
        _origins[key] = Origin(kind, {"PATH": env.get("PATH", ""), **early})
    request = {"argv": list(argv[2:]), "env": dict(env), "cwd": str(cwd)}
    return Forked(_origins[key].ask(request, output), _origins[key])


def _kind_of(argv: Sequence[str], env: Mapping[str, str]) -> str | None:
    """Return a key of ``LIBRARIES``; None for a command that is to be started without a fork.

    Servers on gevent and pools of greenlets are: they patch Python before they import anything.
    """
    match list(argv):
        case [sys.executable, "-m", "socket_server"]:
            return "server" if env.get("TASKBRIDGE_ASYNC_MODE", "") in ("", "eventlet") else None
        case [sys.executable, "-m", "celery", *rest] if "worker" in rest:
            return None if {"eventlet", "gevent"} & set("=".join(rest).split("=")) else "worker"
    return None


def serve(requests: _socket.socket) -> dict[str, Any] | None:
    """Answer requests; return that for a process in this process itself, None at their end."""
    while True:
        data, files, *_ = socket.recv_fds(requests, REQUEST, 1)
        if not data:
            return None
        request: dict[str, Any] = json.loads(data)
        if "reap" in request:
            requests.send(str(os.waitpid(request["reap"], 0)[1]).encode())
            continue
        pid = os.fork()
        if not pid:
            requests.close()
            return {**request, "output": files[0]}
        os.close(files[0])
        requests.send(str(pid).encode())


def become(wanted: Mapping[str, Any]) -> None:
    """Be a process as ``python -m`` makes one."""
    os.setsid()
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    for stream in (1, 2):
        os.dup2(wanted["output"], stream)
    os.close(wanted["output"])
    faulthandler.register(DUMP_TRACEBACKS, sys.__stderr__)
    module, *sys.argv[1:] = wanted["argv"]
    sys.path[0] = wanted["cwd"]
    sys.modules.pop("support")
    if (tests := str(TESTS)) not in wanted["env"].get("PYTHONPATH", "").split(os.pathsep):
        sys.path.remove(tests)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main(kind: str, requests: str) -> None:
    """Import the libraries, and fork."""
    if kind == "server":
        with warnings.catch_warnings(action="ignore"):
            importlib.import_module("eventlet").monkey_patch()
    for name in LIBRARIES[kind]:
        importlib.import_module(name)
    assert threading.active_count() == 1, "a thread does not outlive a fork"
    gc.freeze()
    # A socket of eventlet would start its event loop here, and all forked servers would share it.
    if wanted := serve(_socket.socket(fileno=int(requests))):
        become(wanted)


if __name__ == "__main__":
    main(*sys.argv[1:])
