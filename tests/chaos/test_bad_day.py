"""Many jobs, and everything happens to their workers, servers and broker: each job ends, as Celery
says it did.

``make long`` has a short run of it, ``make chaos`` one of a quarter of an hour.
"""

from __future__ import annotations

import os
import random
import threading
import time

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
#: Threads that enqueue: a broker that blocks publishers, or is frozen, holds up each for a while.
ENQUEUERS = 16
STALLED, LOST = 5, 15
#: Seconds after the last fault within which every job ends: three attempts after lost workers,
#: and a worker that is about to stop and has taken one more.
PATIENCE = 120 + SECONDS / 2

pytestmark = [pytest.mark.long, pytest.mark.timeout(2 * SECONDS + 3 * PATIENCE + 180)]


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
    """Enqueues a part of the jobs, one after the other; while the broker is away, it tries again.

    Args:
        bridge: by which it enqueues.
        number: which of the enqueuers it is.
        jobs: to which it appends the jobs' ids.
    """

    def __init__(self, bridge, number, jobs):
        super().__init__()
        self.over, self._left = threading.Event(), len(range(number, JOBS, ENQUEUERS))
        self._bridge, self._jobs, self._chance = bridge, jobs, random.Random(f"{SEED} {number}")
        self.start()

    def run(self):
        while self._left and not self.over.wait(ENQUEUERS * SECONDS / JOBS / 2):
            try:
                job = some_job(self._chance)
                self._jobs.append(self._bridge.enqueue(job, owner="me").id)
                self._left -= 1
            except TaskbridgeError:
                continue


def test_every_job_ends_and_as_celery_says(node, stack):
    chaos = Chaos(node, stack, random.Random(SEED + 1), FAULTS_AT_ONCE)
    clients, jobs = [OwnerClient(stack, "me") for _ in range(2)], []
    enqueuers = [Enqueuer(stack.bridge, number, jobs) for number in range(ENQUEUERS)]
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            chaos.tick(jobs)
            enqueuers[0].over.wait(0.25)  # the pace of faults
        chaos.end()
        did = f"CHAOS_SEED={SEED}, {len(jobs)} of {JOBS} jobs amid {chaos.done}"
        print(did)  # noqa: T201
        for enqueuer in enqueuers:
            enqueuer.join(PATIENCE)
        assert len(jobs) == JOBS
        for client in clients:
            await_ends(client, jobs, PATIENCE, did)
            assert_as_celery_says(stack, client, jobs, chaos.revoked)
    finally:
        for enqueuer in enqueuers:
            enqueuer.over.set()
        for client in clients:
            client.close()
        chaos.close()
