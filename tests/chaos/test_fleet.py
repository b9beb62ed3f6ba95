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
from celery import chain, chord, signature

from bridge.errors import TaskbridgeError
from bridge.events import TERMINAL
from support.owner_client import OwnerClient
from support.process import children_of, kill_all
from support.stack import Stack
from support.wait import until

JOBS = int(os.environ.get("CHAOS_JOBS", "30"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "25"))
WORKERS = 3
STALLED, LOST = 5, 15
#: Seconds after the last fault within which every job ends: three attempts after lost workers,
#: and a worker that is about to stop and has taken one more.
PATIENCE = 120 + SECONDS / 2

pytestmark = pytest.mark.timeout(SECONDS + PATIENCE + 120)

#: Our names of what Celery says once it is final; a task that raises JobCancelled is a failure to
#: Celery, and so is one whose process died.
ENDS = {
    "SUCCESS": {"succeeded"},
    "FAILURE": {"failed", "lost", "cancelled"},
    "REVOKED": {"cancelled"},
}


@pytest.fixture
def stack(rabbitmq, tmp_path):
    limits = {"TASKBRIDGE_STALLED_AFTER": str(STALLED), "TASKBRIDGE_LOST_AFTER": str(LOST)}
    stack = Stack(tmp_path, rabbitmq.new_vhost(), **limits)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


def task(name, *args, **options):
    return signature(f"support.{name}", args=args, options=options, immutable=True)


def some_job(chance):
    """Return a task, or a canvas, of one of many kinds."""
    seconds = chance.uniform(0.2, 6)
    kinds = [
        lambda: task("linger", seconds),
        lambda: task("linger_early", seconds),
        lambda: task("linger_once", seconds),
        lambda: task("work", seconds),
        lambda: task("linger", 30, soft_time_limit=2),
        lambda: task("linger", 30, time_limit=2),
        lambda: task("fail"),
        lambda: task("retry_once"),
        lambda: task("die"),
        lambda: chain(task("work", 1), task("linger", 1)),
        lambda: chord([task("work", 1) for _ in range(4)], task("add", 1, 1)),
    ]
    return chance.choice(kinds)()


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
        """Let everything that is left go on, with enough workers."""
        for timer in self.frozen:
            timer.join()
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
            await_ends(client, jobs, f"seed {seed}, {chaos.done}")
            assert_as_celery_says(stack, client, jobs, chaos.revoked)
    finally:
        for client in clients:
            client.close()


def await_ends(client, jobs, what):
    def going_on():
        return {job: client.state(job) for job in jobs if client.state(job) not in TERMINAL}

    try:
        until(lambda: not going_on(), PATIENCE, "all jobs to end", interval=0.5)
    except AssertionError:
        left = {job: client.jobs[job].encode() for job in going_on() if job in client.jobs}
        raise AssertionError(f"{what}: these go on: {going_on()} {left}") from None


def assert_as_celery_says(stack, client, jobs, revoked):
    # A canvas has no result of its own id; of its tasks those that failed first decide.
    for job in jobs:
        state = stack.bridge.app.AsyncResult(job).state
        # Of a task that Celery's own command revokes as it begins, each worker stores that it was,
        # at its own time; one that runs to its end all the same has both ends.
        if state in ENDS and not (state == "REVOKED" and job in revoked):
            assert client.state(job) in ENDS[state], (job, state, client.jobs[job].encode())
        *before, last = client.ends[job]
        for end in before:
            # A worker that dies before its acknowledgement is out has the job run once more.
            assert end.verdict or end.run < last.run, (job, end, last)
