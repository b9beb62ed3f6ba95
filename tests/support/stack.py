"""The product's processes, on a broker, with settings of their own."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path

from bridge import Bridge, Settings
from support.ports import free_port
from support.process import ROOT, Process
from support.wait import until

__all__ = ["MODE", "OWN_SERVERS", "SECRET", "WORKER", "Stack"]

#: What serves: the server on eventlet, or with `gevent-serve` on gevent; gunicorn with threading or
#: gevent.
MODE = os.environ.get("SERVER_MODE", "eventlet")
#: Modes of `taskbridge serve`, and the setting of each.
OWN_SERVERS = {"eventlet": "", "gevent-serve": "gevent"}
#: Application of workers that name none: the shipped one, or one of somebody's own.
WORKER = os.environ.get("WORKER_APP", "workers.app")
SECRET = "a secret for tests that is long enough to sign with"


class Stack:
    """A socket server and workers, started one by one.

    Args:
        home: folder of the embedded broker, results and logs; the reference jobs read what is
            beside it, and write into a folder beside it too (``output``).
        broker_url: None for the embedded broker.
        variables: more of the environment, or other values.
    """

    def __init__(self, home: Path, broker_url: str | None = None, **variables: str) -> None:
        self.home = home
        self.output = home.with_name(f"{home.name}-output")
        self.output.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                # With that one set to 0, the whole suite shows that the stock path works.
                if "TASKBRIDGE" not in name or name == "TASKBRIDGE_FAST_PATH"
            },
            "PYTHONPATH": f"{ROOT / 'tests'}",
            "PYTHONUNBUFFERED": "1",
            "TASKBRIDGE_HOME": str(home),
            "TASKBRIDGE_SECRET": SECRET,
            "TASKBRIDGE_PORT": str(self.port),
            "TASKBRIDGE_TASKS": "workers.jobs.*,support.*",
            # The reference jobs read what tests make beside the stack's folder.
            "TASKBRIDGE_INPUT_ROOTS": str(home.parent),
            "TASKBRIDGE_OUTPUT_ROOT": str(self.output),
            "TASKBRIDGE_INCLUDE": "support.tasks,support.counted",
            "TASKBRIDGE_CANCEL_GRACE": "2",
            **({"TASKBRIDGE_BROKER_URL": broker_url} if broker_url else {}),
            **variables,
        }
        self.processes: list[Process] = []
        #: See ``MODE``.
        self.mode = MODE

    @cached_property
    def settings(self) -> Settings:
        return Settings.from_environ(self.env)

    @cached_property
    def bridge(self) -> Bridge:
        return Bridge(settings=self.settings)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def token(self, **claims: object) -> str:
        """Return a token; see ``Bridge.token``."""
        return self.bridge.token(**claims)  # type: ignore[arg-type]

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of ``taskbridge`` with these arguments."""
        return [sys.executable, "-m", "bridge.cli", *arguments]

    def start(self, name: str, *command: str, **variables: str) -> Process:
        """Start a process of this stack."""
        log = self.home / f"{name}-{len(self.processes)}.log"
        own = OWN_SERVERS.get(self.mode, "")  # an empty value counts as unset
        env = {"TASKBRIDGE_ASYNC_MODE": own, **self.env, **variables}
        process = Process(command, log, env, name=name)
        self.processes.append(process)
        return process

    def start_server(self, **variables: str) -> Process:
        """Start a socket server and wait until it listens to the broker."""
        port = int(variables.get("TASKBRIDGE_PORT", self.port))
        server = self.start("server", *self.server_command(port), **variables)
        server.await_output(self.listening)
        until(self.healthy, 30, "the server to be healthy")
        return server

    @property
    def servers(self) -> list[Process]:
        """The servers that run."""
        return [one for one in self.processes if one.name == "server" and one.running]

    @property
    def listening(self) -> str:
        """What a server prints when it listens to clients."""
        return "serving on" if self.mode in OWN_SERVERS else "Listening at"

    def server_command(self, port: int | None = None) -> list[str]:
        """Return the command line of a server; with SERVER_MODE, of another than the default.

        Args:
            port: port of a server of gunicorn's; default the stack's.
        """
        if self.mode in OWN_SERVERS:
            return [sys.executable, "-m", "socket_server"]
        kind = {"threading": ["gthread", "--threads=200"], "gevent": ["gevent"]}[self.mode]
        options = [f"--bind={self.settings.host}:{port or self.port}", "--worker-class", *kind]
        return [sys.executable, "-m", "gunicorn", "socket_server.wsgi:app", *options]

    def start_worker(self, *arguments: str, app: str = WORKER, **variables: str) -> Process:
        """Start a worker of two processes and wait until it is ready."""
        command = [sys.executable, "-m", "celery", "-A", app, "worker"]
        quick = ["--loglevel", "INFO", "--concurrency", "2", "--without-mingle", "--without-gossip"]
        worker = self.start("worker", *command, *quick, *arguments, **variables)
        worker.await_output("ready.")
        return worker

    def healthy(self) -> bool:
        """Whether the server says that it is."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:
                return bool(json.load(answer)["status"] == "ok")
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def stop(self) -> None:
        """Kill all processes: how they end when they are asked to has tests of its own."""
        for process in self.processes:
            process.kill()
