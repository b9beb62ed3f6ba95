"""A job whose workers die until its quorum queue drops the message is lost, and says why."""

from __future__ import annotations

import json
import time

import kombu
import pytest

from support.process import kill_all
from support.stack import Stack
from support.watched import Watched

pytestmark = pytest.mark.timeout(400)

#: Seconds after which a silent task is looked for, and of patience with it.
STALLED, LOST = 2, 8
#: Seconds from the last death until a job has ended: the silence, the broker's time to redeliver
#: the message, the patience, and what a busy machine takes.
BOUND = 40
#: What RabbitMQ 4 does to a quorum queue without a policy.
DEFAULT_LIMIT = 20


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    stack = Stack(
        tmp_path_factory.mktemp("limit"),
        rabbitmq.new_vhost(),
        TASKBRIDGE_QUEUE_TYPE="quorum",
        TASKBRIDGE_STALLED_AFTER=str(STALLED),
        TASKBRIDGE_LOST_AFTER=str(LOST),
    )
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


def start_worker(stack):
    # A name of its own: the broker holds the queues of one that died for a moment.
    return stack.start_worker("--hostname", f"worker-{len(stack.processes)}@%h")


def assert_lost_after(deaths, stack):
    """Kill each worker that runs a job; check what who watches it is told of each death."""
    job, worker = Watched(stack, "support.linger", 300), start_worker(stack)
    for _ in range(deaths):
        job.until("started")
        kill_all(worker)
        assert "delivers it to another worker" in job.until("retrying")["data"]["reason"]
        worker = start_worker(stack)
    since, snapshot = time.monotonic(), job.end()
    assert snapshot["state"] == "lost"
    assert "the broker has not delivered it to another one" in snapshot["reason"]
    assert time.monotonic() - since < BOUND
    assert "started" not in job.types[-2:]
    kill_all(worker)


@pytest.mark.timeout(900)
def test_a_job_whose_message_was_returned_21_times_is_lost(stack):
    with kombu.Connection(stack.settings.broker) as connection:
        version = connection.default_channel.connection.server_properties["version"]
    if int(version.partition(".")[0]) < 4:
        pytest.skip(f"RabbitMQ {version} has no delivery limit unless it is told one")
    assert_lost_after(DEFAULT_LIMIT + 1, stack)


PARKED = {"dead-letter-exchange": "", "dead-letter-routing-key": "parked"}


@pytest.mark.parametrize(
    "policy",
    [pytest.param({}, id="dropped", marks=pytest.mark.long), pytest.param(PARKED, id="parked")],
)
def test_a_job_at_the_delivery_limit_is_lost_wherever_its_message_goes(stack, rabbitmq, policy):
    vhost = stack.settings.broker.rpartition("/")[2]
    told = json.dumps({**policy, "delivery-limit": 1})
    rabbitmq.control("set_policy", "-p", vhost, "--apply-to", "queues", "limit", "^celery$", told)
    with kombu.Connection(stack.settings.broker) as connection:
        connection.default_channel.queue_declare("parked", durable=True, auto_delete=False)
        assert_lost_after(2, stack)
        parked = connection.default_channel.basic_get("parked", no_ack=True)
    assert (parked is not None) == bool(policy)
