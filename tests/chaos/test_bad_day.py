"""Many jobs, and everything happens to their workers, servers and broker: each job ends, as Celery
says it did.

``make long`` has a short run of it, ``make chaos`` one of a quarter of an hour.
"""

from __future__ import annotations

import os
import random
import threading

import pytest

from bridge.errors import TaskbridgeError
from support.chaos import Chaos
from support.fleet import assert_as_celery_says, await_ends, some_job
from support.owner_client import OwnerClient
from support.rabbitmq import RabbitMQ
from support.stack import Stack

JOBS = int(os.environ.get("CHAOS_JOBS", "40"))
SECONDS = float(os.environ.get("CHAOS_SECONDS", "30"))
FAULTS_AT_ONCE = int(os.environ.get("CHAOS_FAULTS", "3"))
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(10**6)))
STALLED, LOST = 5, 15
#: Seconds after the last fault within which every job ends: three attempts after lost workers,
#: and a worker that is about to stop and has taken one more.
PATIENCE = 120 + SECONDS / 2

pytestmark = [pytest.mark.long, pytest.mark.timeout(2 * SECONDS + PATIENCE + 180)]


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
                self.jobs.append(
                    self._bridge.enqueue(some_job(self._chance, early=False), owner="me").id
                )
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
            await_ends(client, enqueuer.jobs, PATIENCE, f"CHAOS_SEED={SEED}, {chaos.done}")
            assert_as_celery_says(stack, client, enqueuer.jobs, chaos.revoked)
    finally:
        enqueuer.over.set()
        for client in clients:
            client.close()
        chaos.close()
