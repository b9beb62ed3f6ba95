"""A task whose message RabbitMQ drops ends as failed, with why."""

from __future__ import annotations

import json

import kombu
import pytest

from bridge import Settings
from bridge.instrumentation import dropped_messages
from support.poison import POISONS, Poisoner
from support.stack import Stack
from support.wait import until

pytestmark = pytest.mark.timeout(200)

DEAD = dropped_messages.queue_name(Settings())
TO_US = {"dead-letter-exchange": "", "dead-letter-routing-key": DEAD}
#: What an operator sets, by a pattern of the names of queues.
POLICIES = {
    # One with a key that is not of a queue's type does not apply to the queue at all.
    "^celery$": {**TO_US, "delivery-limit": 2},
    "^refused$": TO_US,
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


def reject(channel):
    """Take the message of a queue, and reject it, as any consumer can."""
    channel.basic_reject(channel.basic_get("refused").delivery_tag, requeue=False)


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
    reject(channel)
    how, why = ended(stack, job.id)
    assert how == FAILED
    assert "a consumer of queue refused rejected it" in why


def holds(stack, rabbitmq, count):
    """Whether so many messages were dropped that no worker has settled."""
    vhost = stack.settings.broker.rpartition("/")[2]
    queues = rabbitmq.control("list_queues", "-p", vhost, "name", "messages").split("\n")
    return f"{DEAD}\t{count}" in queues


def test_what_a_worker_rejects_ends_as_that_worker_says(stack, rabbitmq):
    worker = stack.start_worker(*POOL, "-Q", "refused")
    poisoner = Poisoner(stack.settings.broker, queue="refused")
    try:
        job = poisoner.publish(POISONS["lists of 600 levels"])
        assert ended(stack, job)[0] == ("failed", "InvalidTaskError", "FAILURE")
        for count in (1, 0):
            until(lambda: holds(stack, rabbitmq, count), 60, "it to be settled")  # noqa: B023
        assert stack.bridge.status(job)["error"]["class"] == "InvalidTaskError"
    finally:
        poisoner.close()
        worker.kill()


def test_nothing_is_left_in_the_queue_of_what_was_dropped(stack, rabbitmq):
    until(lambda: holds(stack, rabbitmq, 0), 20, "all to be settled")
