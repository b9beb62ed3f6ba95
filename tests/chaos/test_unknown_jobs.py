"""Jobs that a server knows from the result backend alone: it was restarted on a broker without a
stream, or their worker does not report.
"""

from __future__ import annotations

import threading

import pytest

from support.process import kill_all
from support.stack import Stack
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(150)

LIMITS = {"TASKBRIDGE_STALLED_AFTER": "3", "TASKBRIDGE_LOST_AFTER": "8"}


@pytest.fixture
def stack(redis_server, tmp_path):
    """A server and a worker on Redis."""
    channel = {"TASKBRIDGE_CHANNEL": tmp_path.name}
    stack = Stack(tmp_path, redis_server.url, **LIMITS, **channel)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


def restarted(stack):
    """Restart the server."""
    stack.processes[0].kill()
    stack.start_server()


def test_a_job_whose_worker_died_while_the_server_was_away_is_lost(stack):
    worker = stack.start_worker()
    job = Watched(stack, "support.linger_early", 60)
    job.pid()
    stack.processes[0].kill()
    kill_all(worker)
    stack.start_server()
    snapshot = job.end()
    assert snapshot["state"] == "lost"
    assert stack.bridge.status(job.id)["state"] == "lost"


def test_a_job_of_a_worker_that_reports_nothing_ends_as_its_result_says(stack, tmp_path):
    """The worker of 'support.plain_app' has no 'install'."""
    worker = stack.start_worker(app="support.plain_app")
    id = stack.bridge.enqueue("plain.hold", [str(tmp_path / "go")], owner="me").id
    until(lambda: stack.bridge.app.AsyncResult(id).state == "STARTED", 20, "its start")
    restarted(stack)
    watcher, seen = stack.bridge.watch(id, timeout=60), []
    watching = threading.Thread(target=lambda: seen.extend(watcher))
    watching.start()
    until(lambda: stack.bridge.status(id)["source"] == "events", 20, "the server to hold it")
    (tmp_path / "go").touch()
    watching.join(60)
    assert [event["type"] for event in seen][-1] == "succeeded"
    assert watcher.snapshot.encode()["result"] == "done"
    assert worker.running


def test_a_job_of_a_worker_that_reports_nothing_says_that_a_worker_has_it(stack, tmp_path):
    stack.start_worker(app="support.plain_app")
    job = Watched(stack, "plain.hold", str(tmp_path / "go"))
    while not (job.watcher.snapshot.encode()["queue"] or {}).get("taken"):
        job.until("estimate")
    (tmp_path / "go").touch()
    assert job.end()["state"] == "succeeded"
    assert "started" not in job.types


def test_a_job_that_goes_on_goes_on(stack, tmp_path):
    stack.start_worker()
    job = Watched(stack, "support.held", str(tmp_path / "go"))
    job.pid()
    restarted(stack)
    job.until("progress")
    assert job.watcher.snapshot.state == "running"
    (tmp_path / "go").touch()
    assert job.end()["state"] == "succeeded"
