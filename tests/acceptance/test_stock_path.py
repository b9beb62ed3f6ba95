"""Without the fast path, a server goes the ways of the libraries below it, to the same end."""

from __future__ import annotations

import pytest

from support.watched import Watched


@pytest.fixture
def stack(new_stack, rabbitmq):
    stack = new_stack(rabbitmq.new_vhost(), TASKBRIDGE_FAST_PATH="0")
    stack.start_server()
    stack.start_worker()
    return stack


def test_a_job_is_watched_to_its_end(stack):
    job = Watched(stack, "support.talk", 200)
    assert job.end()["state"] == "succeeded"
    lines = [line for event in job.told for line in event["data"].get("lines", [])]
    assert len(lines) == 200


def test_a_job_is_cancelled(stack):
    job = Watched(stack, "support.linger", 60)
    job.until("progress")
    stack.bridge.cancel(job.id)
    assert job.end()["state"] == "cancelled"


def test_a_server_that_was_killed_and_is_back_has_missed_nothing(stack):
    job = Watched(stack, "support.counts", 200)
    job.until("log")
    stack.processes[0].kill()
    stack.start_server()
    assert job.end()["state"] == "succeeded"
    lines = [line["message"] for event in job.told for line in event["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(200)]
    assert job.watcher.recovered
