"""What a worker publishes (retries, later tasks of a canvas) survives the broker's death.

A broker under an alarm takes no task, and is then killed. A worker that had acknowledged what it
ran before the broker confirmed what comes next would have lost the job.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from celery import chain, chord

from support.fleet import task
from support.stack import Stack
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def stack(node, tmp_path):
    stack = Stack(tmp_path / "stack", node.new_vhost(), TASKBRIDGE_EVENTS_URL=node.new_vhost())
    try:
        stack.start_server()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def alarm(node):
    """Let the broker block who publishes."""

    def alarm(over=False):
        node.control("set_vm_memory_high_watermark", "0.4" if over else "0")

    yield alarm
    alarm(over=True)


KINDS = {
    "retry": lambda file: task("retry_held", file),
    "process": lambda file: task("held", file),
    "chain": lambda file: chain(task("held", file), task("add", 1, 1)),
    "chord": lambda file: chord([task("held", file)], task("add", 1, 1)),
}


@pytest.mark.parametrize(
    ("kind", "killed"),
    [
        ("retry", True),
        ("process", True),
        *(pytest.param(kind, True, marks=pytest.mark.long) for kind in ("chain", "chord")),
        ("retry", False),
        ("process", False),
    ],
)
def test_what_follows_a_task_is_run_once(node, stack, alarm, tmp_path, kind, killed):
    file = tmp_path / "file"
    job = Watched(stack, KINDS[kind](str(file)))
    pid = job.pid()
    alarm()
    if kind == "process":
        os.kill(pid, signal.SIGKILL)
    file.touch()
    until(lambda: node.blocks(stack.settings.broker), 30, "the worker to publish")
    if killed:
        node.kill()
        node.start()
    else:
        alarm(over=True)
    snapshot = job.end()
    assert snapshot["state"] == "succeeded", (snapshot, job.types)
    # The worker may have received the next attempt before it reports the end of the first.
    retrying = [event["data"]["attempt"] for event in job.told if event["type"] == "retrying"]
    assert set(retrying) <= {1}, job.told
    if not killed:  # a broker that is killed may have taken a task, and not said so
        assert job.types.count("started") == 2, job.types


def test_a_retry_that_fails_before_the_attempt_that_published_it_ends_stays_failed(stack, tmp_path):
    file = tmp_path / "file"
    job = Watched(stack, "support.overtaken", str(file))
    assert job.end()["state"] == "failed"
    until(file.exists, 30, "the end of the first attempt")  # after it has stored what it stores
    assert job.celerys == "FAILURE"


def test_a_worker_whose_retry_is_not_confirmed_serves_its_other_tasks(node, stack, alarm, tmp_path):
    file = str(tmp_path / "file")
    held = Watched(stack, "support.held", file)
    limited = Watched(stack, task("held", file, time_limit=15))
    pid, other = held.pid(), limited.pid()
    alarm()
    os.kill(pid, signal.SIGKILL)
    until(lambda: node.blocks(stack.settings.broker), 12, "the worker to publish")
    # Its parent has to see to that.
    until(lambda: not Path(f"/proc/{other}").exists(), 20, "the end of the limited task")
    alarm(over=True)
    Path(file).touch()
    assert held.end()["state"] == "succeeded"
    assert limited.end()["state"] == "failed"
