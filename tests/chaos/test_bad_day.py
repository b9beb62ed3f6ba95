"""Many jobs, and everything happens to their workers, servers and broker: each job ends, as Celery
says it did.

``make long`` has a short run of it, ``make chaos`` one of a quarter of an hour.
"""

from __future__ import annotations

import os
import random
import threading

import pytest
from celery import chain, chord, signature

from bridge.errors import TaskbridgeError
from bridge.events import TERMINAL
from support.chaos import Chaos
from support.owner_client import OwnerClient
from support.rabbitmq import RabbitMQ
from support.stack import Stack
from support.wait import until

JOBS = int(os.environ.get("CHAOS_JOBS", "40"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "30"))
FAULTS_AT_ONCE = int(os.environ.get("CHAOS_FAULTS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(10**6)))
STALLED, LOST = 5, 15
#: Seconds after the last fault within which every job ends: three attempts after lost workers,
#: and a worker that is about to stop and has taken one more.
PATIENCE = 120 + SECONDS / 2

pytestmark = [pytest.mark.long, pytest.mark.timeout(2 * SECONDS + PATIENCE + 180)]

#: Our names of what Celery says once it is final; a task that raises JobCancelled is a failure to
#: Celery, and so is one whose process died.
ENDS = {
    "SUCCESS": {"succeeded"},
    "FAILURE": {"failed", "lost", "cancelled"},
    "REVOKED": {"cancelled"},
}


@pytest.fixture
def node(tmp_path):
    """A node that nobody else uses, for it is treated badly."""
    (tmp_path / "node").mkdir()
    node = RabbitMQ(tmp_path / "node")
    try:
        yield node.start()
    finally:
        node.kill()


@pytest.fixture
def stack(node, tmp_path):
    limits = {"TASKBRIDGE_STALLED_AFTER": str(STALLED), "TASKBRIDGE_LOST_AFTER": str(LOST)}
    stack = Stack(tmp_path / "stack", node.url, **limits)
    try:
        yield stack
    finally:
        stack.stop()


def task(name, *args, **options):
    return signature(f"support.{name}", args=args, options=options, immutable=True)


def some_job(chance):
    """Return a task, or a canvas, of one of many kinds.

    All are acknowledged late: of a task that is acknowledged early, nothing is left if its worker
    dies before it could publish that it has begun.
    """
    seconds = chance.uniform(0.2, 6)
    kinds = [
        lambda: task("linger", seconds),
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


class Enqueuer(threading.Thread):
    """Enqueues jobs, one after the other; while the broker is away, it tries again."""

    def __init__(self, bridge):
        super().__init__()
        self.jobs, self.over = [], threading.Event()
        self._bridge, self._chance = bridge, random.Random(SEED)
        self.start()

    def run(self):
        while len(self.jobs) < JOBS and not self.over.wait(SECONDS / JOBS):
            try:
                self.jobs.append(self._bridge.enqueue(some_job(self._chance), owner="me").id)
            except TaskbridgeError:
                continue


def test_every_job_ends_and_as_celery_says(node, stack):
    chaos = Chaos(node, stack, random.Random(SEED + 1), FAULTS_AT_ONCE)
    clients, enqueuer = [OwnerClient(stack, "me") for _ in range(2)], Enqueuer(stack.bridge)
    try:
        while enqueuer.is_alive():
            chaos.tick(enqueuer.jobs)
            enqueuer.join(0.25)
        chaos.end()
        for client in clients:
            await_ends(client, enqueuer.jobs, f"CHAOS_SEED={SEED}, {chaos.done}")
            assert_as_celery_says(stack, client, enqueuer.jobs, chaos.revoked)
    finally:
        enqueuer.over.set()
        for client in clients:
            client.close()
        chaos.close()


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
        *before, last = client.ends.get(job, [None])  # what it missed, its snapshots tell
        for end in before:
            # A worker that dies before its acknowledgement is out has the job run once more.
            assert end.verdict or end.run < last.run, (job, end, last)
