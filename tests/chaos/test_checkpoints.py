"""An attempt goes on where the last one stopped, however that one ended."""

from __future__ import annotations

import os
import signal

import pytest

from bridge.checkpoints.stores import store_in
from support.link import Link
from support.process import children_of
from support.stack import Stack
from support.topology import Topology
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(300)

#: Rows that an attempt may do after its last stored checkpoint: what it did in a tenth of a second,
#: and while the store was slow.
LAG = 40
BACKENDS = ("redis", "postgresql")
QUICK = {
    "TASKBRIDGE_STALLED_AFTER": "2",
    "TASKBRIDGE_LOST_AFTER": "6",
    "TASKBRIDGE_STOP_GRACE": "1",
}


@pytest.fixture(scope="module")
def databases():
    """URLs of result backends: PostgreSQL's is started when it is asked for."""
    topology = Topology()

    def postgresql():
        if "postgresql" not in topology.processes:
            topology.start_postgresql()
        # The login of workers, which can make no table.
        password = (topology.secrets / "postgresql_worker").read_text()
        return f"db+postgresql+psycopg://worker:{password}@{topology.ip['postgresql']}/taskbridge"

    try:
        yield postgresql
    finally:
        topology.stop()


@pytest.fixture(scope="module", params=BACKENDS)
def served(request, rabbitmq, databases, tmp_path_factory):
    """A server on RabbitMQ, with results in PostgreSQL or Redis."""
    redis = request.getfixturevalue("redis_server") if request.param == "redis" else None
    results = redis.url if redis else databases()
    folder = tmp_path_factory.mktemp("checkpoints")
    stack = Stack(folder, rabbitmq.new_vhost(), TASKBRIDGE_RESULT_URL=results, **QUICK)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(served):
    """The server and two workers, new ones in place of those that were ended."""
    for _ in range(2 - len(workers_of(served))):
        start_worker(served)
    return served


def workers_of(stack):
    """Return the workers that run."""
    return [worker for worker in stack.processes[1:] if worker.running]


def worker_of(stack, job):
    """Return the worker that runs a job."""
    pid = job.pid()
    return next(worker for worker in workers_of(stack) if pid in children_of(worker.pid))


def start_worker(stack, **variables):
    """Start a worker as in production, of one process."""
    quick = ["--concurrency", "1", "--without-mingle", "--without-gossip"]
    worker = stack.start("worker", *stack.command("worker", *quick), **variables)
    worker.await_output("ready.")
    return worker


def begun(stack, file, *arguments):
    """Enqueue a job of rows; return it once a third of them is done, and saved."""
    job = Watched(stack, "support.resume", str(file), *arguments)
    job.pid()
    job._read(lambda _: done(job) > 30 and job.watcher.snapshot.saved)
    return job


def done(job):
    return next((bar["n"] for bar in job.watcher.snapshot.bars), 0)


def rows_of(file):
    """Return the rows that each attempt has done."""
    found = {}
    for line in file.read_text().split("\n")[:-1]:
        attempt, row = line.split()
        found.setdefault(attempt, []).append(int(row))
    return found


def assert_went_on(job, file, rows, lag=LAG):
    """The second attempt began near the end of the first; no row is left out; clients saw it."""
    snapshot = job.end()
    assert snapshot["state"] == "succeeded", (snapshot, job.types)
    first, second = rows_of(file).values()
    assert first == list(range(len(first)))
    assert second == list(range(second[0], rows))
    assert len(first) - lag <= second[0] <= len(first), (len(first), second[0])
    resumed = snapshot["tasks"][0]["resumed"]
    assert resumed["share"] == pytest.approx(second[0] / rows, abs=lag / rows)
    # Where a client sees the bar of the second attempt, it is not at 0 but there.
    newer = [e for e in job.told if e["type"] == "progress" and e["data"].get("resumed")]
    counts = [bar["n"] for event in newer for bar in event["data"]["bars"]]
    assert second[0] <= min(counts)
    assert max(counts) == rows


def record_of(stack, job):
    """Return what the store holds of a job's task, without a change; None for nothing."""
    store = store_in(stack.bridge.app.backend, 3600)
    if hasattr(store, "_found"):
        return store._found(job.id)[2]
    return store._backend.client.hget(
        store._backend.get_key_for_task(f"taskbridge-checkpoint-{job.id}"), "body"
    )


REDIS, POSTGRESQL = (pytest.mark.parametrize("served", [one], indirect=True) for one in BACKENDS)


@pytest.mark.parametrize(
    ("served", "how"),
    [("redis", "process"), ("redis", "deployment"), ("postgresql", "worker")],
    indirect=["served"],
)
def test_after_a_death_or_a_deployment_the_next_attempt_goes_on(stack, tmp_path, how):
    job = begun(stack, tmp_path / "rows", 150, 0.02)
    if how == "process":
        os.kill(job.pid(), signal.SIGKILL)
    elif how == "worker":
        worker_of(stack, job).kill()
    else:
        worker_of(stack, job).signal(signal.SIGTERM)
    assert_went_on(job, tmp_path / "rows", 150)
    until(lambda: record_of(stack, job) is None, 10, "the checkpoint to be cleared")


@REDIS
def test_a_retry_goes_on_from_the_very_row_and_success_clears_it(stack, tmp_path):
    job = Watched(stack, "support.resume", str(tmp_path / "rows"), 30, 0.01, "retry")
    assert_went_on(job, tmp_path / "rows", 30, lag=0)
    until(lambda: record_of(stack, job) is None, 10, "the checkpoint to be cleared")


@REDIS
def test_a_failure_keeps_what_was_saved(stack, tmp_path):
    job = Watched(stack, "support.resume", str(tmp_path / "rows"), 30, 0.0, "fail")
    assert job.end()["state"] == "failed"
    until(lambda: b'"state":{"done":29}' in (record_of(stack, job) or b""), 10, "the last state")


@POSTGRESQL
def test_a_frozen_first_attempt_that_thaws_changes_nothing(stack, tmp_path):
    """Its worker loses its connection, and the broker delivers the task to another one."""
    file = tmp_path / "rows"
    port = int(stack.settings.broker.rpartition(":")[2].partition("/")[0])
    with Link(port) as link:
        over_link = stack.settings.broker.replace(f":{port}/", f":{link.port}/")
        for worker in workers_of(stack):
            worker.kill()
        frozen = start_worker(stack, TASKBRIDGE_BROKER_URL=over_link)
        job = begun(stack, file, 150, 0.02)
        frozen.freeze()
        link.cut()
        start_worker(stack)
        job._read(lambda event: event["data"].get("resumed") and done(job) < 140)
        link.swallow()
        frozen.thaw()
        snapshot = job.end()
        until(lambda: len(rows_of(file).get("00", ())) == 150, 30, "the first attempt to end")
        assert snapshot["state"] == "succeeded"
        second = rows_of(file)["01"]
        assert second == list(range(second[0], 150))
        assert second[0] > 0
        frozen.await_output("a newer attempt of the task runs")
        until(lambda: record_of(stack, job) is None, 10, "the checkpoint to be cleared")
