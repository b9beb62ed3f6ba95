"""Whoever may write to the result backend makes up results, and nothing more."""

from __future__ import annotations

import subprocess

import pytest

from bridge.errors import JobNotFound, ServerUnavailable
from bridge.reporting.run import Run
from bridge.sending.process_emitters import emitter_for
from support.planted import encoded, plant, planted
from support.wait import until
from workers.app import new_app


@pytest.fixture(scope="module")
def planting(tmp_path_factory):
    """A server without a worker, with a table of results in which each row would make a file."""
    from support.stack import Stack

    stack = Stack(
        tmp_path_factory.mktemp("planted"),
        TASKBRIDGE_STALLED_AFTER="1",
        TASKBRIDGE_LOST_AFTER="2",
    )
    try:
        stack.start_server()  # before there is a table
        _ = new_app(stack.settings).backend
        stack.witness = stack.home / "witness"
        for kind, row in planted(stack.witness).items():
            plant(stack.home / "results.sqlite", kind.replace(" ", "-"), row)
        plant(stack.home / "results.sqlite", "deep", b"[" * 30_000 + b"]" * 30_000)
        plant(stack.home / "results.sqlite", "malformed", b"1", status=b"\xff")
        yield stack
    finally:
        stack.stop()


@pytest.fixture(autouse=True)
def unharmed(planting):
    yield
    assert not planting.witness.exists()
    assert planting.healthy()


@pytest.mark.parametrize("job", ["protocol-2", "an-instance", "deep"])
def test_a_server_tells_the_state_of_what_was_planted(planting, job):
    found = planting.bridge.status(job)
    assert (found["state"], found["source"]) == ("succeeded", "result")
    assert found["result_omitted"]
    watcher = planting.bridge.watch(job, timeout=20)
    assert list(watcher) == []
    assert watcher.snapshot.state == "succeeded"


def test_a_command_watches_what_was_planted(planting):
    done = subprocess.run(
        planting.command("watch", "protocol-4"),
        env=planting.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


def test_the_verdict_on_a_silent_job_comes_from_what_was_planted(planting):
    run = Run(job="protocol-5", task="protocol-5", name="n", owner="me", begun=1)
    emitter_for(planting.settings).put(run, "started")
    until(lambda: planting.bridge.status("protocol-5").get("source") != "result", 20, "it to begin")
    found = until(lambda: ended(planting, "protocol-5"), 30, "the verdict")
    assert (found["state"], found["result_omitted"]) == ("succeeded", True)


def ended(stack, job):
    found = stack.bridge.status(job)
    return found if found["state"] != "running" else None


def test_a_malformed_row_is_no_job_and_one_line_in_the_log(planting):
    before = planting.processes[0].output.count("is malformed")
    with pytest.raises(JobNotFound):
        list(planting.bridge.watch("malformed", timeout=20))
    assert planting.processes[0].output.count("is malformed") == before + 1


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE"])
def test_a_service_that_meets_no_server_reads_redis_as_data(redis_server, new_stack, state):
    stack = new_stack(redis_server.url, TASKBRIDGE_RESULT_URL=redis_server.url)
    client = stack.bridge.app.backend.client
    keys = {
        "pickled": planted(stack.home / "witness")["protocol 4"],
        "raised": encoded(
            status=state, result={"exc_type": "system", "exc_module": "os", "exc_message": ["x"]}
        ),
        "large": encoded(status=state, result="x" * 3_000_000),
        "plain": encoded(status=state, result=[1]),
    }
    client.flushdb()
    for task, value in keys.items():
        client.set(f"celery-task-meta-{task}", value)
    client.lpush("celery-task-meta-no-text", "x")
    for task in ("pickled", "no-text"):
        with pytest.raises(ServerUnavailable):
            stack.bridge.status(task)
    name = {"SUCCESS": "succeeded", "FAILURE": "failed"}[state]
    found = {task: stack.bridge.status(task) for task in ("raised", "large", "plain")}
    assert {one["state"] for one in found.values()} == {name}
    if state == "SUCCESS":
        assert found["plain"]["result"] == [1]
        assert found["large"]["result_omitted"]
    else:
        assert found["raised"]["error"] == {"class": "system", "message": "x"}
    assert not (stack.home / "witness").exists()
