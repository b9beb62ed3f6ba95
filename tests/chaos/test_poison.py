"""A message that no worker can run ends its own job, and costs the worker nothing."""

from __future__ import annotations

import sys

import pytest
from kombu import Connection

from bridge.errors import JobNotFound
from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from support.poison import NAMELESS, ODD, POISONS, Poisoner
from support.process import children_of
from support.stack import Stack
from support.wait import until

pytestmark = pytest.mark.timeout(200)

#: A worker of each pool, and what it runs: the shipped application, or one with Celery's defaults.
WORKERS = {
    "prefork": "workers.app",
    "threads": "workers.app",
    "gevent": "workers.app",
    "eventlet": "workers.app",
    "solo": "workers.app",
    "own-prefork": "support.own_app",
    "own-threads": "support.own_app",
}
#: What a task does that is hard to hand on, and how its job ends.
AWKWARD = {
    ("result", 300): "succeeded",
    ("result", 700): "succeeded",
    # The depth that the encoder of JSON takes grew with Python 3.12.
    ("result", 100_000): "failed",
    ("meta", 700): "succeeded",
    ("deep", 300): "failed",
    ("deep", 480): "failed",
    ("deep", 700): "failed",
    ("deep", 5000): "failed",
    ("unpicklable", 0): "failed",
    ("unloadable", 0): "failed",
    ("unsayable", 0): "failed",
}


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("poison"), rabbitmq.new_vhost())
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(params=WORKERS)
def worker(request, stack):
    """A worker of two slots that consumes a queue of its own name."""
    pool = ["--pool", request.param.removeprefix("own-"), "--concurrency", "2"]
    command = [sys.executable, "-m", "celery", "-A", WORKERS[request.param], "worker", *pool]
    quick = ["--loglevel", "INFO", "--without-mingle", "--without-gossip", "-Q", request.param]
    worker = stack.start(request.param, *command, *quick)
    try:
        worker.await_output("ready.")
        worker.queue = request.param
        yield worker
    finally:
        worker.kill()


@pytest.fixture
def poisoner(stack, worker):
    poisoner = Poisoner(stack.settings.broker, queue=worker.queue)
    yield poisoner
    poisoner.close()


def ended(bridge, job):
    """Return a job's snapshot as those who watch it see it; None while it goes on."""
    try:
        snapshot = bridge.status(job)
    except JobNotFound:
        return None
    over = snapshot["ended_at"] is not None and snapshot["source"] == "events"
    return snapshot if over else None


def states(bridge, jobs):
    """Wait until jobs are over; return the snapshot of each."""
    found = {}

    def are_over():
        for name, job in jobs.items():
            if name not in found and (snapshot := ended(bridge, job)):
                found[name] = snapshot
        return len(found) == len(jobs)

    try:
        until(are_over, 60)
    except AssertionError:
        missing = sorted(str(name) for name in jobs.keys() - found.keys())
        raise AssertionError(f"these did not end: {missing}") from None
    return found


def left_in(stack, worker):
    """Kill a worker; return the ids of the tasks whose messages it had not acknowledged."""
    worker.kill()
    with Connection(stack.settings.broker) as connection:
        channel = connection.default_channel

        def declared():
            return channel.queue_declare(worker.queue, passive=True)

        until(lambda: declared().consumer_count == 0, 20, "the broker to see that it is gone")
        left = [channel.basic_get(worker.queue) for _ in range(declared().message_count)]
        return {message.headers.get("id") for message in left}


def test_a_poison_message_ends_its_own_job_and_costs_the_worker_nothing(stack, worker, poisoner):
    bridge, processes = stack.bridge, children_of(worker.pid)
    bad, good, odd = {}, {}, {}
    for wrong in NAMELESS.values():
        poisoner.publish(wrong)
    for name, wrong in poisons_for(worker):
        bad[name] = poisoner.publish(wrong)
        good[name] = poisoner.publish({})
    for name, wrong in ODD.items():
        odd[name] = poisoner.publish({}, **wrong)
    awkward = {
        kind: bridge.enqueue("support.awkward", kind, owner="me", queue=worker.queue).id
        for kind in AWKWARD
    }
    watched = watch_poison(stack, poisoner)

    shown = states(bridge, good)
    assert {one["state"] for one in shown.values()} == {"succeeded"}
    for name, snapshot in states(bridge, bad).items():
        assert snapshot["state"] == "failed", (name, snapshot)
        assert snapshot["error"]["message"], name
        assert "\n" not in snapshot["error"]["message"], name
        assert bridge.app.AsyncResult(bad[name]).state == "FAILURE", name
    assert {one["state"] for one in states(bridge, odd).values()} == {"succeeded"}
    ends = {kind: one["state"] for kind, one in states(bridge, awkward).items()}
    assert ends == AWKWARD
    assert [event["type"] for event in watched] == ["queued", "failed"]

    assert worker.running
    assert children_of(worker.pid) == processes
    last = poisoner.publish({})
    assert states(bridge, {"last": last})["last"]["state"] == "succeeded"
    # The last one's acknowledgement may be on its way when the worker is killed.
    assert left_in(stack, worker) <= {last}


def poisons_for(worker):
    """Return what a worker gets: every third where each task takes a good part of a second."""
    return list(POISONS.items())[:: 3 if worker.queue in ("gevent", "eventlet", "solo") else 1]


def watch_poison(stack, poisoner):
    """Return the watcher of a poisonous job that those who watch know to be queued."""
    job = poisoner.publish(POISONS["lists of 600 levels"])
    queued = Run(job=job, task=job, name="support.add", owner="me", begun=0)
    emitter_for(stack.settings).put(queued, "queued", {"total": 1})
    until(lambda: known(stack.bridge, job), 30, "the server to know of it")
    return stack.bridge.watch(job, timeout=30)


def known(bridge, job):
    try:
        return bridge.status(job)
    except JobNotFound:
        return None
