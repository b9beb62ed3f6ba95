"""A task whose message RabbitMQ drops ends as failed, with why."""

from __future__ import annotations

import json

import kombu
import pytest

from bridge import Settings, dropped
from support.link import Link
from support.poison import POISONS, Poisoner
from support.stack import Stack
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(200)

DEAD = dropped.queue_name(Settings())
TO_US = {"dead-letter-exchange": "", "dead-letter-routing-key": DEAD}
#: What an operator sets, by a pattern of the names of queues.
POLICIES = {
    "^(celery|refused)$": {**TO_US, "delivery-limit": 2},
    "^short$": {**TO_US, "message-ttl": 900},
}
POOL = ["--pool", "threads", "--concurrency", "1"]


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    """A server, and a worker of a queue of its own, which ends what is dropped of any queue."""
    stack = Stack(
        tmp_path_factory.mktemp("dropped"), rabbitmq.new_vhost(), TASKBRIDGE_QUEUE_TYPE="quorum"
    )
    try:
        stack.start_server()
        stack.start_worker(*POOL, "-Q", "other")
        vhost = stack.settings.broker.rpartition("/")[2]
        for number, (pattern, policy) in enumerate(POLICIES.items()):
            named = ("-p", vhost, "--apply-to", "queues", f"policy-{number}", pattern)
            rabbitmq.control("set_policy", *named, json.dumps(policy))
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def channel(stack):
    with kombu.Connection(stack.settings.broker) as connection:
        yield connection.channel()


def ended(stack, job):
    """Return how a job ended as who watches it, the error's class and Celery see it."""
    watcher = stack.bridge.watch(job, timeout=60)
    list(watcher)
    snapshot = watcher.snapshot.encode()
    error = snapshot["error"] or {"class": None, "message": ""}
    state = stack.bridge.app.AsyncResult(job).state
    return (snapshot["state"], error["class"], state), error["message"]


FAILED = ("failed", "MessageDropped", "FAILURE")


def test_a_job_that_kills_each_worker_fails_at_the_delivery_limit(stack):
    job = stack.bridge.enqueue("support.die", owner="me")
    for _ in range(3):
        stack.start("doomed", *stack.command("worker", *POOL)).wait(60)
    how, why = ended(stack, job.id)
    assert how == FAILED
    assert "dropped by the broker: it was delivered too often" in why


def test_a_job_that_waits_longer_than_its_queue_allows_fails(stack):
    job = stack.bridge.enqueue("support.add", [1, 2], owner="me", queue="short")
    how, why = ended(stack, job.id)
    assert how == FAILED
    assert "message-ttl of queue short" in why


def test_a_job_whose_message_somebody_rejects_fails(stack, channel):
    job = stack.bridge.enqueue("support.add", [1, 2], owner="me", queue="refused")
    channel.basic_get("refused").reject(requeue=False)
    how, why = ended(stack, job.id)
    assert how == FAILED
    assert "a consumer of queue refused rejected it" in why


def test_what_a_worker_rejects_ends_as_that_worker_says(stack, channel):
    worker = stack.start_worker(*POOL, "-Q", "refused")
    poisoner = Poisoner(stack.settings.broker, queue="refused")
    try:
        job = poisoner.publish(POISONS["lists of 600 levels"])
        how, _ = ended(stack, job)
        assert how == ("failed", "InvalidTaskError", "FAILURE")
        # The next one is settled after it.
        channel.queue_declare(DEAD, passive=True)
        worker.kill()
        second = stack.bridge.enqueue("support.add", [1, 2], owner="me", queue="refused")
        channel.basic_get("refused").reject(requeue=False)
        assert ended(stack, second.id)[0] == FAILED
        assert stack.bridge.status(job)["error"]["class"] == "InvalidTaskError"
    finally:
        poisoner.close()
        worker.kill()


def test_a_job_that_runs_on_when_its_message_expires_ends_as_it_ends(stack, rabbitmq):
    url = stack.settings.broker
    with Link(rabbitmq.port) as link:
        over_link = url.replace(f":{rabbitmq.port}/", f":{link.port}/")
        worker = stack.start_worker(*POOL, "-Q", "short", TASKBRIDGE_BROKER_URL=over_link)
        job = Watched(stack, "support.linger", 7, queue="short")
        job.pid()
        link.cut()
        try:
            assert ended(stack, job.id)[0] == ("succeeded", None, "SUCCESS")
        finally:
            worker.kill()


def test_nothing_is_left_in_the_queue_of_what_was_dropped(stack, rabbitmq):
    vhost = stack.settings.broker.rpartition("/")[2]

    def is_empty():
        queues = rabbitmq.control("list_queues", "-p", vhost, "name", "messages").split("\n")
        return f"{DEAD}\t0" in queues

    until(is_empty, 20, "all to be settled")
