"""A worker that loses its broker in mid-job runs the job once, though it is delivered again."""

from __future__ import annotations

import pytest

from support.link import Link
from support.stack import Stack
from support.wait import until

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(params=["prefork", "threads"])
def linked(request, rabbitmq, tmp_path):
    """A stack whose worker reaches RabbitMQ over a link, and the link."""
    url = rabbitmq.new_vhost()
    stack = Stack(tmp_path, url)
    with Link(rabbitmq.port) as link:
        try:
            stack.start_server()
            over_link = url.replace(f":{rabbitmq.port}/", f":{link.port}/")
            stack.start_worker("--pool", request.param, TASKBRIDGE_BROKER_URL=over_link)
            yield stack, link
        finally:
            stack.stop()


def begun(stack, file, *arguments):
    """Start a job; return its watcher and an iterator over its events, once it runs."""
    job = stack.bridge.enqueue("support.note", args=[str(file), *arguments], owner="me")
    watcher = stack.bridge.watch(job.id, timeout=30)
    events = iter(watcher)
    until(lambda: next(events)["type"] == "progress", 30, "the first bar")
    return job, watcher, events


def emptied(rabbitmq, stack):
    """Whether nothing is in the queue of tasks, delivered or not."""
    vhost = stack.settings.broker.rpartition("/")[2]
    queues = rabbitmq.control("list_queues", "-p", vhost, "name", "messages").split("\n")
    return "celery\t0" in queues


@pytest.mark.parametrize("fails", [False, True])
def test_a_connection_that_is_lost_in_mid_job_and_comes_back(linked, tmp_path, fails):
    stack, link = linked
    _, watcher, events = begun(stack, tmp_path / "ran", 6, fails)
    link.cut()
    list(events)
    assert watcher.snapshot.state == ("failed" if fails else "succeeded")
    assert (tmp_path / "ran").read_text() == "ran\n"
    [task] = watcher.snapshot.encode()["tasks"]
    assert task["attempt"] == 1


def test_a_connection_that_is_lost_until_the_job_is_over(linked, rabbitmq, tmp_path):
    stack, link = linked
    worker = stack.processes[-1]
    job, _, _ = begun(stack, tmp_path / "ran", 2, True)
    link.swallow()
    result = stack.bridge.app.AsyncResult(job.id)
    until(result.ready, 30, "the end of the job")
    received = worker.output.count("received")
    link.heal()
    until(lambda: worker.output.count("received") > received, 60, "the second delivery")
    until(lambda: emptied(rabbitmq, stack), 120, "the second delivery to be over")
    assert (tmp_path / "ran").read_text() == "ran\n"
    assert result.state == "FAILURE"
