"""Cancelling, wherever the job is: in a queue, at work, between two attempts, all over a canvas."""

from __future__ import annotations

import subprocess
import uuid

import pytest
from celery import chain, chord, group, signature
from celery.exceptions import TaskRevokedError

from bridge.errors import JobEnded, JobNotFound
from bridge.protocol.event import TERMINAL
from support.monitor import Monitor
from support.process import is_dead
from support.stack import Stack
from support.wait import until
from support.watched import Watched


@pytest.fixture(scope="module", params=["embedded", "rabbitmq"])
def url(request):
    """URL of a broker of this module's own."""
    node = request.getfixturevalue("rabbitmq") if request.param == "rabbitmq" else None
    return node.new_vhost() if node else None


@pytest.fixture(scope="module")
def stack(url, tmp_path_factory):
    """A server and a worker of two processes; the grace is two seconds."""
    stack = Stack(tmp_path_factory.mktemp("cancelling"), url)
    try:
        stack.start_server()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def busy(stack):
    """Two jobs that keep both processes busy."""
    jobs = [Watched(stack, "support.work", 60) for _ in range(2)]
    for job in jobs:
        job.until("progress")
    return jobs


def task(name, *args):
    return signature(f"support.{name}", args=args, immutable=True)


def assert_cancelled(job):
    """Cancel a job; the client is told of its end once, by one that says so."""
    job.bridge.cancel(job.id)
    snapshot = job.end()
    assert snapshot["state"] == "cancelled"
    assert [kind for kind in job.types if kind in TERMINAL][-1] == "cancelled"
    return snapshot


def assert_idle(stack):
    """The worker has nothing left, and does what it is asked next."""
    assert Watched(stack, "support.add", 1, 2).end()["result"] == 3


def test_a_running_job_that_reports_ends_at_once_and_cleans_up(stack, tmp_path):
    job = Watched(stack, "support.work", 60, str(tmp_path / "cleaned"))
    job.until("progress")
    assert_cancelled(job)
    assert job.types[-2:] == ["cancelling", "cancelled"]
    assert (tmp_path / "cleaned").read_text() == "cleaned up"
    job.until_celery_says("REVOKED")
    with pytest.raises(TaskRevokedError, match="the job was cancelled"):
        job.bridge.app.AsyncResult(job.id).get(timeout=5)
    assert "Traceback" not in stack.processes[-1].output


def test_a_task_that_catches_and_retries_every_exception_is_cancelled_all_the_same(stack, tmp_path):
    job = Watched(stack, "support.careless", str(tmp_path / "caught"))
    job.until("progress")
    assert_cancelled(job)
    assert "retrying" not in job.types
    job.until_celery_says("REVOKED")
    assert not (tmp_path / "caught").exists()


def test_handlers_around_a_cancelled_body_report_as_usual(stack):
    """What the task makes of its cancel is its result, and its process lives on."""
    job = Watched(stack, "support.saved")
    pid = job.pid()
    stack.bridge.cancel(job.id)
    snapshot = job.end()
    assert (snapshot["state"], snapshot["result"]) == ("succeeded", "saved")
    assert not is_dead(pid)


def test_a_monitor_sees_that_a_running_task_was_cancelled(stack):
    with Monitor(stack.bridge.app) as monitor:
        job = Watched(stack, "support.work", 60)
        job.until("progress")
        assert_cancelled(job)
        until(lambda: monitor.state(job.id) == "REVOKED", 30, "task-revoked")


def test_a_process_that_is_terminated_leaves_no_lock_to_the_others_of_its_pool(tmp_path):
    """On the embedded broker they share the queue on which each sends its results and its end."""
    stack = Stack(tmp_path, TASKBRIDGE_INCLUDE="support.tasks,support.slow_queue")
    try:
        stack.start_server()
        stack.start_worker()
        job = Watched(stack, "support.stuck", 60)
        job.until("started")
        assert_cancelled(job)
        for _ in range(4):  # by either process
            assert_idle(stack)
    finally:
        stack.stop()


def test_the_rest_of_a_cancelled_chain_is_revoked(stack):
    steps = chain(task("work", 60), task("linger", 1), task("linger", 1))
    result = steps.freeze()
    job = Watched(stack, steps)
    job.until("progress")
    assert_cancelled(job)
    last = job.bridge.app.AsyncResult(result.id)
    until(lambda: last.state == "REVOKED", 30, "the state of the chain's last task")


def test_a_job_that_never_looks_is_terminated_after_the_grace(stack, tmp_path):
    job = Watched(stack, "support.linger", 60, str(tmp_path / "cleaned"))
    job.pid()
    assert_cancelled(job)
    until((tmp_path / "cleaned").exists, 30, "the finally block")
    job.until_celery_says("REVOKED")


def test_a_job_that_waits_is_cancelled_at_once_and_never_runs(stack, busy, tmp_path):
    job = Watched(stack, "support.note", str(tmp_path / "ran"), 0)
    job.until("queued")
    assert_cancelled(job)
    assert "started" not in job.types
    for one in busy:
        assert_cancelled(one)
    assert_idle(stack)
    assert not (tmp_path / "ran").exists()


def test_a_job_that_was_cancelled_before_there_was_a_worker_never_runs(
    url, new_stack, request, tmp_path
):
    node = request.getfixturevalue("rabbitmq") if url else None
    stack = new_stack(node.new_vhost() if node else None)
    stack.start_server()
    job = Watched(stack, "support.note", str(tmp_path / "ran"), 0)
    job.until("queued")
    assert_cancelled(job)
    stack.start_worker()
    job.until_celery_says("REVOKED")
    assert_idle(stack)
    assert not (tmp_path / "ran").exists()


def test_a_job_between_two_attempts_is_cancelled_at_once(stack):
    job = Watched(stack, "support.later", 600)
    retrying = job.until("retrying")
    assert retrying["data"]["retry_at"] - retrying["at"] == pytest.approx(600, abs=2)
    assert_cancelled(job)
    job.until_celery_says("REVOKED")


def test_a_chord_of_a_hundred_is_cancelled_as_a_whole(stack, tmp_path):
    file = tmp_path / "ran"
    header = [task("note", str(file), 0.5) for _ in range(100)]
    job = Watched(stack, chord(header, task("note", str(tmp_path / "body"), 0)))
    job.until("started")
    assert_cancelled(job)
    ran = file.read_text().count("ran") if file.exists() else 0
    assert ran < 50
    assert_idle(stack)
    assert file.read_text().count("ran") - ran <= 2
    assert not (tmp_path / "body").exists()


@pytest.mark.parametrize("canvas", [chain, group])
def test_a_chain_and_a_group_are_cancelled_as_a_whole(stack, canvas, tmp_path):
    files = [tmp_path / str(number) for number in range(4)]
    first = task("work", 60)
    tasks = [first, first, *[task("note", str(file), 0) for file in files]]
    job = Watched(stack, canvas(*tasks) if canvas is chain else canvas(tasks))
    job.until("progress")
    assert_cancelled(job)
    assert_idle(stack)
    assert not any(file.exists() for file in files)


def test_a_second_cancel_says_that_there_was_a_first(stack):
    job = Watched(stack, "support.linger", 60)
    job.pid()
    assert stack.bridge.cancel(job.id) == "running"
    job.until("cancelling")
    assert stack.bridge.cancel(job.id) == "cancelling"
    assert job.end()["state"] == "cancelled"
    assert job.types.count("cancelling") == 1


def test_a_job_that_is_over_or_unknown_cannot_be_cancelled(stack):
    job = Watched(stack, "support.add", 1, 1)
    job.end()
    with pytest.raises(JobEnded, match="has already succeeded"):
        stack.bridge.cancel(job.id)
    with pytest.raises(JobNotFound, match="no job"):
        stack.bridge.cancel(str(uuid.uuid4()))


def test_the_command_line_says_so_too(stack):
    job = Watched(stack, "support.add", 1, 1)
    job.end()
    for known, sentence in ((job.id, "the job has already succeeded"), ("x", "no job x")):
        done = subprocess.run(
            stack.command("cancel", known),
            env=stack.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert sentence in done.stderr
