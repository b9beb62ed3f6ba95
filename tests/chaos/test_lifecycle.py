"""However a task ends, and whatever ends it, those who watch are told, once and truly."""

from __future__ import annotations

import os
import signal

import pytest

from bridge.protocol.event import TERMINAL
from support.process import is_dead, kill_all
from support.stack import Stack
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(200)

#: Seconds until the server calls a silent task stalled, and lost.
STALLED, LOST = 3, 8
QUICK = {
    "TASKBRIDGE_STALLED_AFTER": str(STALLED),
    "TASKBRIDGE_LOST_AFTER": str(LOST),
    "TASKBRIDGE_STOP_GRACE": "4",
}
#: Celery's own name for what became of a task, and ours.
CELERYS = {"succeeded": "SUCCESS", "failed": "FAILURE", "cancelled": "REVOKED", "lost": "FAILURE"}


@pytest.fixture(scope="module")
def served(rabbitmq, tmp_path_factory):
    """A server on RabbitMQ."""
    stack = Stack(tmp_path_factory.mktemp("lifecycle"), rabbitmq.new_vhost(), **QUICK)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def stack(served):
    """The server and one worker of two processes, which is a new one if the last was ended."""
    workers = [one for one in served.processes[1:] if one.running]
    for spare in workers[:-1]:
        spare.kill()  # it is about to stop
    if not workers:
        served.start_worker()
    return served


@pytest.fixture
def deployed(served):
    """The server and one worker that is run as it is in production."""
    for worker in served.processes[1:]:
        worker.kill()
    start_worker(served)
    yield served
    for worker in served.processes[1:]:
        worker.kill()


def start_worker(stack):
    quick = ["--concurrency", "2", "--without-mingle", "--without-gossip"]
    stack.start("worker", *stack.command("worker", *quick)).await_output("ready.")


def worker_of(stack):
    """Return the process of the worker that runs."""
    return [one for one in stack.processes[1:] if one.running][-1]


def assert_ended_once(job, state, *celerys):
    """Read to the end; a client is told of it once, and Celery says the same."""
    snapshot = job.end()
    assert snapshot["state"] == state, (snapshot, job.types)
    assert [kind for kind in job.types if kind in TERMINAL] == [state]
    expected = celerys or [CELERYS[state]]
    job.until_celery_says(*expected)
    return snapshot


def revoke(job, name):
    job.bridge.app.control.revoke(job.id, terminate=True, signal=name)


def test_a_killed_process_whose_task_is_not_tried_again_is_lost(stack):
    job = Watched(stack, "support.linger_once", 60)
    os.kill(job.pid(), signal.SIGKILL)
    snapshot = assert_ended_once(job, "lost")
    assert "signal 9" in snapshot["reason"]
    assert snapshot["error"]["class"] == "WorkerLostError"


def test_a_killed_process_whose_task_is_tried_again_begins_a_second_attempt(stack):
    job = Watched(stack, "support.linger", 5)
    os.kill(job.pid(), signal.SIGKILL)
    retrying = job.until("retrying")
    assert retrying["data"]["retry_at"] - retrying["at"] == pytest.approx(5, abs=1)
    snapshot = assert_ended_once(job, "succeeded")
    assert snapshot["tasks"][0]["attempt"] == 2


def test_a_process_that_is_forked_while_a_thread_imports_runs_tasks_and_reports(stack):
    include = "support.skewed,support.importing"
    worker = stack.start_worker("-Q", "importing", "-c", "1", TASKBRIDGE_INCLUDE=include)
    try:
        queues = ["kill", "importing"]
        job = Watched(stack, "skewed.move", queues, "done", queue="importing")
        snapshot = assert_ended_once(job, "succeeded")
        assert snapshot["tasks"][0]["attempt"] == 3
        # The first attempt dies at once, maybe before it has said that it began.
        assert job.types.count("started") >= 2
        assert "no import was under way" not in worker.output
    finally:
        worker.kill()


@pytest.mark.parametrize(("name", "cleaned"), [("SIGTERM", True), ("SIGKILL", False)])
def test_a_revoked_task_that_is_terminated_is_cancelled(stack, tmp_path, name, cleaned):
    file = tmp_path / "cleaned"
    job = Watched(stack, "support.linger", 60, str(file))
    job.pid()
    revoke(job, name)
    assert_ended_once(job, "cancelled")
    if cleaned:
        until(file.exists, 30, "the finally block")
    assert file.exists() == cleaned


def test_a_task_that_is_told_that_its_time_is_over_has_failed(stack, tmp_path):
    job = Watched(stack, "support.linger", 60, str(tmp_path / "cleaned"))
    job.pid()
    revoke(job, "SIGUSR1")
    # Its process stores what it raised, and the worker's parent that it was revoked.
    snapshot = assert_ended_once(job, "failed", "FAILURE", "REVOKED")
    assert snapshot["error"]["class"] == "SoftTimeLimitExceeded"
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("limit", ["soft_time_limit", "time_limit"])
def test_a_time_limit_that_is_over_is_a_failure(stack, limit):
    snapshot = assert_ended_once(Watched(stack, "support.linger", 60, **{limit: 1}), "failed")
    assert snapshot["error"]["message"].startswith("it took longer than its time limit")


@pytest.mark.parametrize("end", ["succeed", "fail", "retry"])
def test_a_time_limit_that_is_over_after_the_end_changes_nothing(stack, end):
    job = Watched(stack, "support.end_late", end, time_limit=2)
    states = ("failed", "FAILURE") if end == "fail" else ("succeeded", "SUCCESS")
    snapshot = assert_ended_once(job, *states)
    assert (snapshot["error"] or {}).get("class") == ("ValueError" if end == "fail" else None)
    assert job.types.count("started") == 1 + (end == "retry")
    worker_of(stack).await_output(f"{job.id} had ended when its time limit was over")
    job.until_celery_says(states[1])


def test_a_worker_that_is_suspended_at_a_time_limit_believes_the_result(stack):
    job = Watched(stack, "support.linger", 3, time_limit=2)
    job.pid()
    worker_of(stack).signal(signal.SIGSTOP)
    job.until_celery_says("SUCCESS")
    worker_of(stack).signal(signal.SIGCONT)
    assert_ended_once(job, "succeeded")


def test_a_task_that_is_revoked_before_it_runs_is_cancelled(stack):
    first = [Watched(stack, "support.linger", 60) for _ in range(2)]
    assert all(job.pid() for job in first)
    second = Watched(stack, "support.linger", 60)
    second.until("queued")
    stack.bridge.app.control.revoke(second.id)
    revoke(first.pop(), "SIGKILL")  # a slot becomes free
    assert_ended_once(second, "cancelled")
    assert "started" not in second.types
    revoke(first.pop(), "SIGKILL")


def test_a_task_that_expires_before_it_runs_is_cancelled_and_says_so(stack):
    running = [Watched(stack, "support.linger", 60) for _ in range(2)]
    assert all(job.pid() for job in running)
    # The broker drops it, or the worker does: nobody may be left to tell of it.
    job = Watched(stack, "support.linger", 60, expires=2)
    snapshot = assert_ended_once(job, "cancelled", "PENDING", "REVOKED")
    assert "expired" in snapshot["reason"]
    assert "started" not in job.types
    for one in running:
        revoke(one, "SIGKILL")
        one.end()


def test_a_worker_that_stops_lets_a_short_job_end(deployed):
    stack = deployed
    job = Watched(stack, "support.linger", 2)
    job.pid()
    worker = worker_of(stack)
    worker.signal(signal.SIGTERM)
    assert_ended_once(job, "succeeded")
    assert worker.wait(30) == 0


def test_a_worker_that_stops_hands_a_long_job_to_another(deployed, tmp_path):
    stack = deployed
    file = tmp_path / "cleaned"
    job = Watched(stack, "support.linger", 8, str(file))
    job.pid()
    worker_of(stack).signal(signal.SIGTERM)
    start_worker(stack)
    handed = job.until("retrying")
    assert "another one will run it" in handed["data"]["reason"]
    snapshot = assert_ended_once(job, "succeeded")
    assert snapshot["tasks"][0]["attempt"] == 2
    assert file.read_text() == "cleaned up\n" * 2


def test_a_task_whose_time_limit_is_over_while_its_worker_stops_ends(deployed):
    job = Watched(deployed, "support.linger", 60, time_limit=2)
    job.pid()
    first = worker_of(deployed)
    first.signal(signal.SIGTERM)  # it looks at no limits any more, for as long as its grace lasts
    start_worker(deployed)
    snapshot = assert_ended_once(job, "failed")
    assert snapshot["error"]["class"] == "TimeLimitExceeded"
    assert first.wait(30) == 0


def test_a_worker_whose_process_is_frozen_stops_and_hands_its_job_to_another(deployed):
    job = Watched(deployed, "support.linger", 3)
    pid = job.pid()
    first = worker_of(deployed)
    os.kill(pid, signal.SIGSTOP)
    first.signal(signal.SIGTERM)
    start_worker(deployed)
    first.wait(30)
    until(lambda: is_dead(pid), 30, "the frozen process to be gone")
    status = deployed.bridge.status
    until(lambda: status(job.id)["state"] == "succeeded", 30, "another worker to run it")
    assert status(job.id)["tasks"][0]["attempt"] == 2


def test_a_worker_that_stops_loses_an_early_acknowledged_job_and_says_so(deployed):
    stack = deployed
    job = Watched(stack, "support.linger_early", 60)
    job.pid()
    worker_of(stack).signal(signal.SIGTERM)
    snapshot = assert_ended_once(job, "lost", "RETRY")
    assert "nobody will run it again" in snapshot["reason"]


def test_a_job_whose_whole_worker_is_killed_is_run_by_another(stack):
    job = Watched(stack, "support.linger", 3)
    job.pid()
    kill_all(worker_of(stack))
    start_worker(stack)
    snapshot = assert_ended_once(job, "succeeded")
    assert snapshot["tasks"][0]["attempt"] == 2


def test_a_job_whose_whole_worker_is_killed_waits_for_another_however_long_that_takes(stack):
    job = Watched(stack, "support.linger", 3)
    job.pid()
    kill_all(worker_of(stack))
    retrying = job.until("retrying")
    assert "the broker delivers it to another worker" in retrying["data"]["reason"]
    assert stack.bridge.status(job.id)["state"] == "retrying"
    start_worker(stack)
    snapshot = assert_ended_once(job, "succeeded")
    assert snapshot["tasks"][0]["attempt"] == 2


def test_a_job_whose_worker_is_gone_is_lost_if_its_message_is_gone_as_well(stack):
    job = Watched(stack, "support.linger", 60)
    job.pid()
    kill_all(worker_of(stack))
    job.until("retrying")
    stack.bridge.app.control.purge()
    start_worker(stack)
    snapshot = assert_ended_once(job, "lost", "STARTED")
    assert "has not delivered it to another one" in snapshot["reason"]


def test_an_early_acknowledged_job_whose_whole_worker_is_killed_stalls_and_is_lost(stack):
    job = Watched(stack, "support.linger_early", 60)
    job.pid()
    kill_all(worker_of(stack))
    stalled = job.until("stalled")
    assert job.watcher.snapshot.stalled
    assert stalled["data"]["silent"] >= STALLED
    snapshot = assert_ended_once(job, "lost", "STARTED")
    assert "nothing was heard of it for" in snapshot["reason"]
    assert snapshot["tasks"][0]["presumed"]


def test_a_job_whose_end_was_not_heard_is_told_from_its_result(stack, tmp_path):
    """The worker dies between storing the result and telling of it."""
    job = Watched(stack, "support.linger_early", 60)
    job.pid()
    kill_all(worker_of(stack))
    stack.bridge.app.backend.store_result(job.id, "done", "SUCCESS")
    snapshot = assert_ended_once(job, "succeeded")
    assert snapshot["result"] == "done"


def test_a_job_that_holds_the_gil_is_out_of_touch_and_not_lost(stack):
    job = Watched(stack, "support.hog", LOST + 4)
    job.until("stalled")
    told = job.until("disturbed")
    assert told["data"]["disturbed"]
    assert "its worker is there" in job.watcher.snapshot.encode()["disturbed"]
    snapshot = assert_ended_once(job, "succeeded")
    assert snapshot["disturbed"] is None
    # On a busy machine the way of the events may be disturbed as well, before or after that.
    told = [event["data"]["disturbed"] for event in job.told if event["type"] == "disturbed"]
    assert told == [True, False] * (len(told) // 2)
    again = stack.bridge.watch(job.id, timeout=60)
    assert [event["type"] for event in again] == ["queued", "started", "log", "log", "succeeded"]
    assert again.recovered
    assert not again.snapshot.encode()["incomplete"]
