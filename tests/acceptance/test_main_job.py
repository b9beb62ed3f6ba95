"""The main job, through real processes, over each broker: enqueue, work, watch."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import uuid

import pytest
from celery import chain, chord, group, signature

from bridge.errors import JobNotFound
from support.wait import until
from support.wire import event_flaws, flaws


def watched(stack, job, timeout=30):
    """Watch a job to its end; return its events and its snapshot, which fit the JSON Schema."""
    watcher = stack.bridge.watch(job.id, timeout=timeout)
    events, snapshot = list(watcher), watcher.snapshot.encode()
    assert [flaw for event in events for flaw in event_flaws(event)] == []
    assert flaws(snapshot, "SnapshotData") == []
    return events, snapshot


def kinds(events):
    """Return the types of the events that are never lost; `queued` may be overtaken by a worker.

    Whether there is an estimate depends on how many jobs the stack has run before.
    """
    passing = ("progress", "queued", "estimate")
    return [event["type"] for event in events if event["type"] not in passing]


@pytest.fixture
def owner():
    return f"user-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def folder(tmp_path):
    """A folder that takes a moment to checksum."""
    for number in range(40):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.bin").write_bytes(os.urandom(2_000_000))
    return tmp_path / "in"


def test_a_checksum_is_watched_to_its_end_and_its_manifest_passes(stack, owner, folder):
    kwargs = {"path": str(folder), "output": "manifest"}
    job = stack.bridge.enqueue("workers.jobs.checksum", kwargs=kwargs, owner=owner)
    events, snapshot = watched(stack, job)
    assert snapshot["state"] == "succeeded"
    assert snapshot["result"]["files"] == 40
    assert kinds(events) == ["started", "succeeded"]
    manifest = snapshot["result"]["manifest"]
    assert manifest == str(stack.output / owner / job.id / "manifest")
    check = subprocess.run(["sha256sum", "--quiet", "-c", manifest], cwd=folder, check=False)
    assert check.returncode == 0


def test_a_bar_is_seen_in_between(stack, owner):
    job = stack.bridge.enqueue("support.work", [1.0], owner=owner)
    events, snapshot = watched(stack, job)
    steps = {event["data"]["bars"][0]["n"] for event in events if event["type"] == "progress"}
    assert len(steps) >= 5
    assert snapshot["bars"][0]["n"] == snapshot["bars"][0]["total"] == 100


def test_log_and_output_arrive_once_and_in_order(stack, owner):
    job = stack.bridge.enqueue("support.talk", [300], owner=owner)
    events, snapshot = watched(stack, job)
    lines = [line["message"] for event in events for line in event["data"].get("lines", [])]
    chunks = [chunk for event in events for chunk in event["data"].get("chunks", [])]
    assert lines == [f"line {number}" for number in range(300)]
    assert "".join(chunks) == "".join(f"{number}\n" for number in range(300))
    assert not snapshot["incomplete"]


def test_a_watcher_who_comes_after_the_end_gets_all_of_it(stack, owner):
    job = stack.bridge.enqueue("support.talk", [50], owner=owner)
    until(lambda: stack.bridge.status(job.id)["state"] == "succeeded", 20, "the job to end")
    events, snapshot = watched(stack, job)
    lines = [line["message"] for event in events for line in event["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(50)]
    assert snapshot["result"] == 50


@pytest.mark.parametrize(
    ("canvas", "tasks", "result"),
    [
        (lambda: chain(signature("support.add", (1, 2)), signature("support.add", (4,))), 2, 7),
        (lambda: chord([signature("support.add", (n, n)) for n in range(4)],
                       signature("support.total")), 5, 12),
        (lambda: group(signature("support.add", (n, n)) for n in range(3)), 3, None),
        (lambda: chain(signature("support.add", (1, 2)),
                       group(signature("support.add", (n,)) for n in range(2)),
                       signature("support.total")), 4, 7),
        (lambda: signature("support.add", (20, 22)), 1, 42),
    ],
    ids=["chain", "chord", "group", "chain of a group", "single task"],
)  # fmt: skip
def test_a_canvas_is_one_job_that_ends_when_its_last_task_does(stack, owner, canvas, tasks, result):
    job = stack.bridge.enqueue(canvas(), owner=owner)
    events, snapshot = watched(stack, job)
    assert snapshot["state"] == "succeeded"
    assert (snapshot["done"], snapshot["total"]) == (tasks, tasks)
    assert {event["job"] for event in events} == {job.id}
    assert {event["owner"] for event in events} == {owner}
    if result is not None:
        assert snapshot["result"] == result


def test_what_a_task_spawns_belongs_to_its_job(stack, owner):
    job = stack.bridge.enqueue("support.spawn", owner=owner)
    _, snapshot = watched(stack, job)
    assert (snapshot["state"], snapshot["total"]) == ("succeeded", 2)
    assert {task["name"] for task in snapshot["tasks"]} == {"support.spawn", "support.add"}


def test_existing_code_is_tracked_inside_owner(stack, owner):
    add = signature("support.add", app=stack.bridge.app)
    with stack.bridge.owner(owner):
        job = add.delay(1, 1)
    until(lambda: stack.bridge.status(job.id)["state"] == "succeeded", 20, "the job to end")
    assert stack.bridge.status(job.id)["owner"] == owner


@pytest.mark.parametrize(
    ("task", "error"),
    [
        ("support.fail", {"class": "ValueError", "message": "this was bound to fail"}),
        ("support.nowhere", {"class": "NotRegistered"}),
    ],
    ids=["a task that raises", "a task that no worker knows"],
)
def test_a_failure_is_told_by_class_and_message_without_a_traceback(stack, owner, task, error):
    _, snapshot = watched(stack, stack.bridge.enqueue(task, owner=owner))
    assert snapshot["state"] == "failed"
    assert error.items() <= snapshot["error"].items()
    assert "Traceback" not in str(snapshot)


def test_a_retry_is_seen_and_then_the_next_attempt(stack, owner):
    events, snapshot = watched(stack, stack.bridge.enqueue("support.retry_once", owner=owner))
    assert kinds(events) == ["started", "retrying", "started", "succeeded"]
    assert snapshot["tasks"][0]["attempt"] == 2


def test_a_result_that_is_not_finite_json_is_omitted(stack, owner):
    _, snapshot = watched(stack, stack.bridge.enqueue("support.unjsonable", owner=owner))
    assert snapshot["state"] == "succeeded"
    assert snapshot["result_omitted"] is True


def test_a_running_job_that_is_cancelled_cleans_up_and_ends(stack, owner, tmp_path):
    mark = tmp_path / "mark"
    job = stack.bridge.enqueue("support.work", [60, str(mark)], owner=owner)
    until(lambda: stack.bridge.status(job.id)["bars"], 20, "the bar to appear")
    stack.bridge.cancel(job.id)
    _, snapshot = watched(stack, job)
    assert snapshot["state"] == "cancelled"
    assert mark.read_text() == "cleaned up"


def test_a_job_that_no_server_and_no_result_knows_is_not_found(stack):
    with pytest.raises(JobNotFound):
        stack.bridge.status(str(uuid.uuid4()))
    with pytest.raises(JobNotFound):
        list(stack.bridge.watch(str(uuid.uuid4()), timeout=10))


def test_a_killed_pool_process_ends_the_job_by_the_parents_word(stack, owner):
    job = stack.bridge.enqueue("support.die", owner=owner, retry=True)
    until(
        lambda: stack.bridge.status(job.id)["state"] in ("retrying", "failed"),
        30,
        "the parent to tell of it",
    )
    stack.bridge.cancel(job.id)


def test_a_watcher_goes_on_after_its_connection_was_cut(stack, owner):
    job = stack.bridge.enqueue("support.work", [3.0], owner=owner)
    watcher = stack.bridge.watch(job.id, timeout=30)
    seen, cut = [], None
    for event in watcher:
        seen.append(event)
        if cut is None and event["type"] == "progress":
            cut = watcher._client.eio.ws.sock
            cut.shutdown(socket.SHUT_RDWR)
    cut.close()
    assert watcher.recovered
    assert kinds(seen) == ["started", "succeeded"]


def test_a_job_is_watched_while_another_client_freezes(stack, owner):
    frozen = stack.bridge.enqueue("support.work", [2.0], owner=owner)
    reader = subprocess.Popen(
        [*stack.command("watch"), frozen.id], env=stack.env, stdout=subprocess.DEVNULL
    )
    try:
        reader.send_signal(signal.SIGSTOP)
        _, snapshot = watched(stack, stack.bridge.enqueue("support.add", [1, 1], owner=owner))
        assert snapshot["state"] == "succeeded"
    finally:
        reader.kill()
        reader.wait()
