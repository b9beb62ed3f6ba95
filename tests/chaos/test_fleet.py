"""Many jobs, and workers to which everything happens: each job ends, as Celery says it did.

``CHAOS_JOBS=200 CHAOS_SECONDS=300`` runs it at length; by default it is short.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from contextlib import suppress

import pytest

from bridge.errors import TaskbridgeError
from support.fleet import assert_as_celery_says, await_ends, some_job
from support.owner_client import OwnerClient
from support.process import children_of, kill_all
from support.stack import Stack

JOBS = int(os.environ.get("CHAOS_JOBS", "30"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
WORKERS = 3
STALLED, LOST = 5, 15
#: Seconds after the last fault within which every job ends: three attempts after lost workers,
#: and a worker that is about to stop and has taken one more.
PATIENCE = 120 + SECONDS / 2

pytestmark = pytest.mark.timeout(SECONDS + PATIENCE + 120)


@pytest.fixture
def stack(rabbitmq, tmp_path):
    limits = {"TASKBRIDGE_STALLED_AFTER": str(STALLED), "TASKBRIDGE_LOST_AFTER": str(LOST)}
    stack = Stack(tmp_path, rabbitmq.new_vhost(), **limits)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


class Chaos:
    """Does to workers, and to jobs, what happens to them.

    Args:
        stack: whose.
        chance: decides what.
    """

    def __init__(self, stack, chance):
        self.stack, self.chance = stack, chance
        self.workers = []
        self.frozen = []
        self.revoked = []
        self.done = []

    def start(self):
        options = ["--concurrency", "2", "--without-mingle", "--without-gossip"]
        celery = ["celery", "-A", "workers.app", "worker", "--loglevel", "INFO"]
        command = [sys.executable, "-m", *celery, *options]
        self.workers.append(self.stack.start("worker", *command))

    def strike(self, jobs):
        """Do one thing, chosen at random."""
        kinds = [self.kill_child, self.kill_child, self.deploy, self.stop_cold, self.kill_host]
        kinds += [self.freeze, self.cancel, self.cancel, self.revoke]
        kind = self.chance.choice(kinds)
        self.done.append(kind.__name__)
        kind(jobs)

    def _worker(self):
        """Return one that runs, and see to it that there are enough others."""
        self.workers = [one for one in self.workers if one.running]
        while len(self.workers) < WORKERS:
            self.start()
        return self.chance.choice(self.workers)

    def kill_child(self, jobs):
        if children := children_of(self._worker().pid):
            with suppress(ProcessLookupError):
                os.kill(self.chance.choice(children), signal.SIGKILL)

    def deploy(self, jobs):
        self._worker().signal(signal.SIGTERM)

    def stop_cold(self, jobs):
        self._worker().signal(signal.SIGQUIT)

    def kill_host(self, jobs):
        kill_all(self._worker())

    def freeze(self, jobs):
        worker = self._worker()
        worker.freeze()
        self.frozen.append(threading.Timer(self.chance.uniform(1, LOST + 5), worker.thaw))
        self.frozen[-1].start()

    def cancel(self, jobs):
        if jobs:
            with suppress(TaskbridgeError):  # it may be over
                self.stack.bridge.cancel(self._newest(jobs))

    def revoke(self, jobs):
        if jobs:
            name = self.chance.choice(["SIGTERM", "SIGKILL"])
            control = self.stack.bridge.app.control
            self.revoked.append(self._newest(jobs))
            control.revoke(self.revoked[-1], terminate=True, signal=name)

    def _newest(self, jobs):
        """Return one that is probably not over yet."""
        return self.chance.choice(jobs[-5:])

    def end(self):
        """Let everything that is left go on, with workers that nothing has told to stop."""
        for timer in self.frozen:
            timer.join()
        self.workers.clear()
        self._worker()


def test_every_job_ends_and_as_celery_says(stack):
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    clients = [OwnerClient(stack, "me") for _ in range(2)]
    chaos, jobs, pause = Chaos(stack, chance), [], threading.Event()
    try:
        for _ in range(WORKERS):
            chaos.start()
        for _ in range(JOBS):
            jobs.append(stack.bridge.enqueue(some_job(chance), owner="me").id)
            if chance.random() < SECONDS / 4 / JOBS:  # a fault every four seconds
                chaos.strike(jobs)
            pause.wait(SECONDS / JOBS)
        chaos.end()
        for client in clients:
            await_ends(client, jobs, PATIENCE, f"seed {seed}, {chaos.done}")
            assert_as_celery_says(stack, client, jobs, chaos.revoked)
    finally:
        for client in clients:
            client.close()
