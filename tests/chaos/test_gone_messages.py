"""A waiting task is lost once its message is proven to be nowhere, and never before."""

from __future__ import annotations

import signal

import kombu
import pytest
from celery import group

from support.process import kill_all
from support.stack import Stack
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(240)

#: Seconds after which a task is looked for, and again.
LOST = 3.0
LIMITS = {"TASKBRIDGE_STALLED_AFTER": "2", "TASKBRIDGE_LOST_AFTER": f"{LOST:g}"}


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("gone"), rabbitmq.new_vhost(), **LIMITS)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


def worker_of(stack, queue, app="support.own_app"):
    """Start a worker of one process, which prefetches four tasks."""
    # A name of its own: one that stops keeps the queues of its name for a moment.
    name = f"worker-{len(stack.processes)}@%h"
    options = ("-Q", queue, "--concurrency", "1", "--hostname", name)
    return stack.start_worker(*options, app=app)


def read(stack, queue):
    """Return the numbers of ready messages and of consumers of a queue."""
    with kombu.Connection(stack.settings.broker) as connection:
        return connection.default_channel.queue_declare(queue, passive=True)[1:]


def assert_lost(job, celerys="PENDING"):
    snapshot = job.end()
    assert (snapshot["state"], job.celerys) == ("lost", celerys)
    assert "its message is gone" in snapshot["reason"]
    assert all(task["presumed"] for task in snapshot["tasks"])


def test_a_task_whose_worker_died_between_acceptance_and_beginning_is_lost(stack, rabbitmq):
    first = worker_of(stack, "early", "support.never_begins")
    job = Watched(stack, "support.linger_early", 60, queue="early")
    vhost = stack.settings.broker.rpartition("/")[2]
    listed = lambda: rabbitmq.control("list_queues", "-p", vhost, "name", "messages")  # noqa: E731
    until(lambda: "early\t0" in listed().split("\n"), 30, "its acknowledgement")
    kill_all(first)
    second = worker_of(stack, "early")
    assert_lost(job)
    kill_all(second)


def test_tasks_whose_queue_was_purged_or_deleted_are_lost(stack, tmp_path):
    """A task that is to be tried again, and those of a group, too."""
    worker = worker_of(stack, "purged,deleted")
    control = stack.bridge.app.control
    retried = Watched(stack, "support.retry_held", str(tmp_path / "go"), queue="purged")
    retried.pid()
    control.cancel_consumer("purged")
    until(lambda: read(stack, "purged") == (0, 0), 20, "the worker to read it no more")
    add = stack.bridge.app.signature("support.add", (1, 1), queue="purged")
    waiting = [Watched(stack, "support.add", 1, 1, queue="purged"), Watched(stack, group(add, add))]
    (tmp_path / "go").touch()
    until(lambda: read(stack, "purged") == (4, 0), 20, "all messages")
    with kombu.Connection(stack.settings.broker) as connection:
        connection.default_channel.queue_purge("purged")
        control.add_consumer("purged")
        assert_lost(retried, "RETRY")
        for job in waiting:
            assert_lost(job)
        control.cancel_consumer("deleted")
        until(lambda: read(stack, "deleted") == (0, 0), 20, "the worker to read it no more")
        deleted = Watched(stack, "support.add", 1, 1, queue="deleted")
        connection.default_channel.queue_delete("deleted")
    assert_lost(deleted)
    kill_all(worker)


def test_a_task_that_waits_is_not_lost_wherever_its_message_is(stack, tmp_path):
    workers = {name: worker_of(stack, name) for name in ("busy", "frozen", "stopping")}
    workers["deaf"] = worker_of(stack, "deaf", "support.deaf_app")
    enqueue, status = stack.bridge.enqueue, stack.bridge.status
    for name in workers:
        Watched(stack, "support.held", str(tmp_path / name), queue=name).pid()
    stack.bridge.app.control.rate_limit("support.total", "1/h")
    jobs = {name: enqueue("support.add", [1, 1], queue=name).id for name in workers}
    jobs["unread"] = enqueue("support.add", [1, 1], queue="unread").id
    later = enqueue("support.add", [1, 1], queue="busy", countdown=3600).id
    limited = [enqueue("support.total", [[1]], queue="busy").id for _ in range(2)]
    for name in workers:
        until(lambda name=name: read(stack, name)[0] == 0, 20, f"{name} to have its message")
    workers["frozen"].freeze()
    workers["stopping"].signal(signal.SIGTERM)
    until(lambda: "Warm shutdown" in workers["stopping"].output, 20, "it to stop")
    second = worker_of(stack, "stopping")

    def changed():
        return [
            status(job)
            for job in (*jobs.values(), later, *limited)
            if status(job)["state"] != "queued"
        ]

    with pytest.raises(AssertionError, match="waited"):
        until(changed, 5 * LOST, interval=0.5)
    workers["frozen"].thaw()
    for name in workers:
        (tmp_path / name).touch()
    stack.bridge.app.control.add_consumer("unread")
    for name, job in jobs.items():
        until(lambda job=job: status(job)["state"] == "succeeded", 30, f"{name} to run")
    kill_all(second)
