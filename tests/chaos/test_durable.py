"""What becomes of a task whose process, worker or connection dies, in each kind of worker.

``pytest -m '' tests/chaos/test_durable.py -s`` causes each fault in each kind of worker, pool and
broker, and prints what the client saw, what Celery says, and how often the task came to its end.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

import pytest

from support.counted import Counted
from support.link import Link
from support.process import kill_all
from support.redis import Redis
from support.stack import Stack
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(240)

WORKERS = {"shipped": "workers.app", "durable": "support.durable_app", "plain": "support.own_app"}
#: Seconds until the server calls a silent task stalled, and lost; that a stopped worker has; and
#: after which what stops it loses its patience.
LIMITS = {
    "TASKBRIDGE_STALLED_AFTER": "3",
    "TASKBRIDGE_LOST_AFTER": "8",
    "TASKBRIDGE_STOP_GRACE": "1",
}
IMPATIENT = 10.0
#: Seconds after which Redis delivers the message of a dead worker again: more than the tasks take.
VISIBILITY = 20


class Fault:
    """Causes a fault while a task runs, and starts another worker where it ends one.

    Args:
        stack: where the task runs.
        link: the way of the worker to the broker.
        start: starts a worker.
        broker: the broker that the worker uses.
    """

    def __init__(self, stack, link, start, broker):
        self.stack, self.link, self.start, self.broker = stack, link, start, broker
        self.worker = stack.processes[-1]

    def child_killed(self, job):
        os.kill(job.pid(), signal.SIGKILL)

    def worker_killed(self, job):
        kill_all(self.worker)
        self.start()

    def container_stopped(self, job):
        self.start()
        os.kill(self.worker.pid, signal.SIGTERM)
        with suppress(AssertionError):
            until(lambda: not self.worker.running, IMPATIENT)
        kill_all(self.worker)

    def connection_cut(self, job):
        received = self.worker.output.count("received")
        self.link.cut()
        self._await_again(received)

    def broker_restarted(self, job):
        received = self.worker.output.count("received")
        self.broker.stop()
        self.broker.start()
        self._await_again(received)

    def _await_again(self, received):
        with suppress(AssertionError):  # nothing comes again where it was acknowledged early
            until(lambda: self.worker.output.count("received") > received, 20)


FAULTS = ["child_killed", "worker_killed", "container_stopped", "connection_cut"]
FAULTS += ["broker_restarted"]


def cases():
    """Yield each combination; those of every run are few, for each takes seconds."""
    for broker in ("rabbitmq", "redis"):
        for pool in ("prefork", "threads"):
            for kind in WORKERS:
                for fault in FAULTS:
                    if (pool, fault) == ("threads", "child_killed"):
                        continue  # it has no children
                    quick = (broker, pool, kind) == ("rabbitmq", "prefork", "durable")
                    quick = quick and fault != "broker_restarted"
                    marks = [] if quick else [pytest.mark.long]
                    yield pytest.param(broker, pool, kind, fault, marks=marks)


@pytest.fixture
def kept_redis(tmp_path):
    """A Redis that keeps on disk what it has, and loses nothing at a restart."""
    server = Redis(tmp_path, kept=True)
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.mark.parametrize(("broker", "pool", "kind", "fault"), [*cases()])
def test_a_durable_task_comes_to_its_end_once(request, tmp_path, broker, pool, kind, fault):
    # A Redis of each test's own, since a worker delivers all messages of dead workers again.
    restarts = fault == "broker_restarted"
    own = {"rabbitmq": "node" if restarts else "rabbitmq", "redis": "kept_redis"}
    node = request.getfixturevalue(own[broker])
    url = node.new_vhost() if broker == "rabbitmq" else node.url
    stack, runs = Stack(tmp_path / "stack", url, **LIMITS), Counted(tmp_path)
    with Link(node.port) as link:
        over_link = url.replace(f":{node.port}", f":{link.port}")

        def start():
            name = f"--hostname=worker-{len(stack.processes)}@%h"
            own = {"TASKBRIDGE_BROKER_URL": over_link, "OWN_VISIBILITY": str(VISIBILITY)}
            options = {"app": WORKERS[kind], **own}
            return stack.start_worker("--pool", pool, name, **options)

        try:
            stack.start_server()
            start()
            job = Watched(stack, "support.counted", str(tmp_path), 2)
            job.pid()
            getattr(Fault(stack, link, start, node), fault)(job)
            if (broker, kind, fault) == ("redis", "shipped", "worker_killed"):
                # Its visibility_timeout is kombu's default of an hour, for which a client waits.
                assert "within 3700 s" in job.until("retrying")["data"]["reason"]
                return
            runs.go()
            seen = job.end()["state"]
            said = job.celerys
            row = f"{broker} {pool} {kind} {fault}: {seen}, {said}, {runs.over} of {runs.begun}"
            sys.stdout.write(f"\n{row}\n")
            if kind != "plain":
                assert (seen, said, runs.over) == ("succeeded", "SUCCESS", 1), row
        finally:
            stack.stop()
