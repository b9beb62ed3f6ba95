"""What happens to brokers, servers, workers and jobs on a bad day: several faults at a time."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from bridge.errors import TaskbridgeError
from support.link import Link
from support.process import Process, children_of, kill_all
from support.rabbitmq import RabbitMQ
from support.stack import Stack

__all__ = ["Chaos"]

#: Workers that there are at least, one of whose clocks is an hour ahead, and one an hour behind.
WORKERS = 4
SKEWS = ("0", "3600", "0", "-3600")
#: Seconds that a fault which passes lasts, and after which one that does not is as good as over.
LASTS, OVER = (1.0, 12.0), 4.0
#: How an alarm of a resource is raised, and ended.
ALARMS = {
    "memory": (["set_vm_memory_high_watermark", "0"], ["set_vm_memory_high_watermark", "0.4"]),
    "disk": (["set_disk_free_limit", "1000000GB"], ["set_disk_free_limit", "10MB"]),
}


class Chaos:
    """Does to a stack what happens to one.

    Args:
        node: its broker, which nobody else uses.
        stack: whose; its server is started here.
        chance: decides what.
        at_once: faults that there are at a time.
    """

    def __init__(self, node: RabbitMQ, stack: Stack, chance: random.Random, at_once: int) -> None:
        self._node, self._stack, self._chance, self._at_once = node, stack, chance, at_once
        self._link = Link(node.port)
        self._workers: list[Process] = []
        self._started = 0
        self._server = stack.start_server()
        #: Whether the broker does not answer, and what ends its alarm.
        self._broker_down = False
        self._alarmed: list[str] | None = None
        #: When each fault that goes on is over, and what ends it, by its name.
        self._going_on: dict[str, tuple[float, Callable[[], object]]] = {}
        #: What was done, in order, and jobs that were revoked by Celery's own command.
        self.done: list[str] = []
        self.revoked: list[str] = []
        self._kinds = [
            self._kill_child, self._stop_worker, self._stop_cold, self._kill_host, self._freeze,
            self._cancel, self._revoke, self._kill_server, self._freeze_server, self._alarm,
            self._cut_link, self._swallow, self._kill_broker, self._freeze_broker,
        ]  # fmt: skip
        self._look_after_workers()

    def tick(self, jobs: list[str]) -> None:
        """End what is over, and begin as much.

        Args:
            jobs: ids, those that were enqueued last at the end.
        """
        now = time.monotonic()
        for name, (until, end) in list(self._going_on.items()):
            if now >= until:
                del self._going_on[name]
                end()
        self._look_after_workers()
        while len(self._going_on) < self._at_once:
            kind = self._chance.choice(self._kinds)
            if (name := kind.__name__.strip("_")) not in self._going_on:
                self.done.append(name)
                # In place before it begins, so that it ends whatever happens.
                self._going_on[name] = (now + OVER, lambda: None)
                kind(jobs)

    def end(self) -> None:
        """End all faults, and leave a server, and workers that nothing has told to stop."""
        for _, end in self._going_on.values():
            end()
        self._going_on.clear()
        self._workers.clear()
        self._look_after_workers()

    def close(self) -> None:
        """Close the link."""
        self._link.close()

    def _lasts(self, name: str, end: Callable[[], object]) -> None:
        self._going_on[name] = (time.monotonic() + self._chance.uniform(*LASTS), end)

    def _look_after_workers(self) -> None:
        self._workers = [one for one in self._workers if one.running]
        while len(self._workers) < WORKERS:
            celery = ["celery", "-A", "workers.app", "worker", "--loglevel", "INFO"]
            options = ["--concurrency", "2", "--without-mingle", "--without-gossip"]
            events = self._node.url.replace(str(self._node.port), str(self._link.port))
            variables = {
                "SKEW": SKEWS[self._started % len(SKEWS)],
                "TASKBRIDGE_INCLUDE": "support.tasks,support.skewed",
                "TASKBRIDGE_EVENTS_URL": events,
            }
            command = [sys.executable, "-m", *celery, *options]
            self._workers.append(self._stack.start("worker", *command, **variables))
            self._started += 1

    def _worker(self) -> Process:
        return self._chance.choice(self._workers)

    def _kill_child(self, jobs: list[str]) -> None:
        if children := children_of(self._worker().pid):
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(children), signal.SIGKILL)

    def _stop_worker(self, jobs: list[str]) -> None:
        self._worker().signal(signal.SIGTERM)

    def _stop_cold(self, jobs: list[str]) -> None:
        self._worker().signal(signal.SIGQUIT)

    def _kill_host(self, jobs: list[str]) -> None:
        kill_all(self._worker())

    def _freeze(self, jobs: list[str]) -> None:
        worker = self._worker()
        worker.freeze()
        self._lasts("freeze", lambda: worker.running and worker.thaw())

    def _kill_server(self, jobs: list[str]) -> None:
        self._server.kill()
        self._server = self._stack.start("server", *self._stack.server_command())

    def _freeze_server(self, jobs: list[str]) -> None:
        server = self._server
        server.freeze()
        self._lasts("freeze_server", lambda: server.running and server.thaw())

    def _alarm(self, jobs: list[str]) -> None:
        if not self._broker_down:
            raising, self._alarmed = self._chance.choice(list(ALARMS.values()))
            self._node.control(*raising)
            self._lasts("alarm", self._end_alarm)

    def _end_alarm(self) -> None:
        if self._alarmed:
            self._node.control(*self._alarmed)
        self._alarmed = None

    def _cut_link(self, jobs: list[str]) -> None:
        self._link.cut()

    def _swallow(self, jobs: list[str]) -> None:
        self._link.swallow()
        self._lasts("swallow", self._link.heal)

    def _kill_broker(self, jobs: list[str]) -> None:
        if not (self._broker_down or self._alarmed):
            self._node.kill()
            self._broker_down = True
            self._lasts("kill_broker", self._start_broker)

    def _start_broker(self) -> None:
        self._node.start()
        self._broker_down = False

    def _freeze_broker(self, jobs: list[str]) -> None:
        if not (self._broker_down or self._alarmed):
            self._node.freeze()
            self._broker_down = True
            self._lasts("freeze_broker", self._thaw_broker)

    def _thaw_broker(self) -> None:
        self._node.thaw()
        self._broker_down = False

    def _cancel(self, jobs: list[str]) -> None:
        if jobs:
            with suppress(TaskbridgeError):  # it may be over, or the broker away
                self._stack.bridge.cancel(self._newest(jobs))

    def _revoke(self, jobs: list[str]) -> None:
        if jobs and not self._broker_down:
            name = self._chance.choice(["SIGTERM", "SIGKILL"])
            self.revoked.append(self._newest(jobs))
            with suppress(OSError, TaskbridgeError):
                self._stack.bridge.app.control.revoke(self.revoked[-1], terminate=True, signal=name)

    def _newest(self, jobs: list[str]) -> str:
        """Return one that is probably not over yet."""
        return self._chance.choice(jobs[-5:])
