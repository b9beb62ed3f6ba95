"""The events broker is away while tasks run: what the processes hold, drop and tell."""

from __future__ import annotations

import os
import re
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.client.socket_client import SocketClient
from support.ports import free_port
from support.process import children_of
from support.rabbitmq import RabbitMQ
from support.redis import Redis
from support.short_tasks import FAIL_EVERY, OWNER
from support.stack import Stack
from support.wait import until

__all__ = ["Outage"]

MIB = 2**20
#: Lines of a worker's log that tell of its outbox.
TELLING = re.compile(r"taskbridge: the broker is (?:away|still|back).*")


def rss(pid: int) -> int:
    """Return bytes of memory that a process has resident; 0 for one that is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Grown:
    """Resident bytes of one process: when it was first looked at, at most, and last."""

    before: int
    most: int = 0
    last: int = 0

    def __str__(self) -> str:
        most, last = (self.most - self.before) / MIB, (self.last - self.before) / MIB
        return f"{self.before / MIB:.0f} MiB, at most {most:+.1f}, at the end {last:+.1f}"


class Sampler:
    """Looks at the resident memory of processes twice a second, in a thread."""

    def __init__(self) -> None:
        self.grown: dict[str, Grown] = {}
        self._pids: dict[str, int] = {}
        self._over = threading.Event()
        threading.Thread(target=self._loop, daemon=True).start()

    def add(self, name: str, pid: int) -> None:
        """Look at a process, too."""
        self.grown[name] = Grown(rss(pid))
        self._pids[name] = pid

    def _loop(self) -> None:
        while not self._over.wait(0.5):
            for name, pid in list(self._pids.items()):
                if now := rss(pid):
                    self.grown[name].last = now
                    self.grown[name].most = max(now, self.grown[name].most)

    def stop(self) -> None:
        """Look no more."""
        self._over.set()


@dataclass
class Report:
    """What came of an outage."""

    jobs: dict[str, str] = field(default_factory=dict)
    #: Seconds that the events broker was away, and that it took then until all jobs had ended.
    away: float = 0.0
    recovery: float = 0.0
    contradictions: list[str] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    pushes: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    logs: list[str] = field(default_factory=list)


class Outage:
    """An events broker, a result backend, a server, a worker, a client and a service.

    Args:
        folder: an empty one.
        broker_url: of tasks.
        concurrency: child processes of the worker.
        variables: more settings, of the worker alone.
    """

    def __init__(
        self, folder: Path, broker_url: str, concurrency: int = 1, **variables: str
    ) -> None:
        for name in ("events", "redis", "home"):
            (folder / name).mkdir()
        self.broker_url, self.events = broker_url, RabbitMQ(folder / "events")
        self.redis = Redis(folder / "redis")
        self._health_port = free_port()
        self._folder, self._concurrency, self._variables = folder, concurrency, variables
        self.sampler = Sampler()
        self.report = Report()

    def __enter__(self) -> Outage:
        self.events.start()
        self.redis.start()
        self.stack = Stack(
            self._folder / "home",
            self.broker_url,
            TASKBRIDGE_EVENTS_URL=self.events.url,
            TASKBRIDGE_RESULT_URL=self.redis.url,
            TASKBRIDGE_INCLUDE="support.short_tasks",
            TASKBRIDGE_STORE_PROGRESS="0",
            TASKBRIDGE_HEALTH_PORT=str(self._health_port),
        )
        self.server = self.stack.start_server()
        concurrency = "--concurrency", str(self._concurrency)
        self.worker = self.stack.start_worker(*concurrency, **self._variables)
        return self

    def __exit__(self, *_: object) -> None:
        self.sampler.stop()
        with suppress(AttributeError):
            self._client.disconnect()
        self.stack.stop()
        self.events.stop()
        assert self.redis.process is not None
        self.redis.process.stop()

    def warm_up(self) -> None:
        """Run a task, so that all processes are connected, and begin to watch."""
        first = self.stack.bridge.enqueue("support.short", [1, 1], owner="warm")
        until(lambda: self.stack.bridge.status(first.id)["state"] == "succeeded", 60, "a task")
        self._watch()
        self.sampler.add("the worker's parent", self.worker.pid)
        for number, pid in enumerate(children_of(self.worker.pid)):
            self.sampler.add(f"child {number} of the worker", pid)
        self.sampler.add("the server", self.server.pid)

    def _watch(self) -> None:
        client = self._client = SocketClient()
        client.on("pushes_dropped", self.report.told.append, namespace="/jobs")
        client.on("preview", self._note_push, namespace="/jobs")
        auth = {"token": self.stack.token(owner=OWNER, ttl=7200)}
        options = {"namespaces": ["/jobs"], "transports": ["websocket"], "wait_timeout": 20}
        client.connect(self.stack.url, auth=auth, **options)
        assert client.call("jobs", {}, namespace="/jobs")["ok"]

    def _note_push(self, _: Any) -> None:
        self.report.pushes += 1

    def run(self, jobs: int, tasks: int, seconds: float, deadline: float) -> Report:
        """Enqueue jobs while the events broker is away, for some seconds at least.

        Args:
            jobs: how many.
            tasks: of each.
            seconds: that the events broker is away at least; it comes back when all tasks have run.
            deadline: seconds that all may take.
        """
        self.events.kill()
        begun = time.monotonic()
        service = self.stack.start(
            "service", sys.executable, "-m", "support.short_tasks", str(jobs), str(tasks)
        )
        until(lambda: service.output or not service.running, 60, "the service to begin")
        self.sampler.add("the service", service.pid)
        until(lambda: "enqueued" in service.output, deadline, "all to be enqueued", interval=1)
        ids = [line for line in service.output.split() if len(line) == 36]
        self._await_tasks(jobs * tasks, deadline)
        until(lambda: time.monotonic() - begun >= seconds, seconds, "the outage", interval=1)
        self.report.away = time.monotonic() - begun
        back = time.monotonic()
        self.events.start()
        until(lambda: "sent True" in service.output, deadline, "the service", interval=1)
        self._await_ends(ids, deadline)
        self.report.recovery = time.monotonic() - back
        self._compare(ids)
        return self._told()

    def _await_tasks(self, count: int, deadline: float) -> None:
        """Wait until the result backend has all results."""
        stored = self.stack.bridge.app.backend.client.dbsize
        until(lambda: stored() > count, deadline, "all tasks to run", interval=1)

    def _await_ends(self, ids: list[str], deadline: float) -> None:
        left = set(ids)

        def ended() -> bool:
            for job in list(left):
                with suppress(Exception):
                    found = self.stack.bridge.status(job)
                    if found["state"] in ("succeeded", "failed", "lost", "cancelled"):
                        self.report.jobs[job] = found["state"]
                        left.discard(job)
            return not left

        until(ended, deadline, "all jobs to end", interval=2)

    def _compare(self, ids: list[str]) -> None:
        for of, job in enumerate(ids):
            expected = "failed" if of % FAIL_EVERY == 0 else "succeeded"
            if self.report.jobs[job] != expected:
                self.report.contradictions.append(f"{job}: {self.report.jobs[job]}, not {expected}")

    def _told(self) -> Report:
        report = self.report
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._health_port}/metrics", timeout=30
        ) as answer:
            text = answer.read().decode()
        for name, value in re.findall(r"^(taskbridge_emitter_\w+) (\S+)$", text, re.M):
            report.metrics[name] = float(value)
        for process in self.stack.processes:
            report.logs += TELLING.findall(process.output)
        return report
