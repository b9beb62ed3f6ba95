"""Workers write events and read none; servers read them; each with a user of its own."""

from __future__ import annotations

import kombu
import pytest
from amqp.exceptions import AccessRefused

from bridge import stream
from support.stack import Stack
from support.watched import Watched

#: User, and its rights on events and on tasks: configure, write, read (docs/protocol.md).
TASKS = ("^celery", r"^(celery.*|amq\.default)$", "^celery$")
USERS = {
    "worker": (("^$", "^taskbridge$", "^$"), (".*", ".*", ".*")),
    "server": (("^$", "^taskbridge$", r"^taskbridge\.stream$"), TASKS),
    "service": (("^$", "^taskbridge$", "^$"), TASKS),
}


def urls(rabbitmq, user, tasks, events):
    """Return the settings of a user's program."""
    base = f"amqp://{user}:secret@127.0.0.1:{rabbitmq.port}"
    return {
        "TASKBRIDGE_BROKER_URL": f"{base}/{tasks}",
        "TASKBRIDGE_EVENTS_URL": f"{base}/{events}",
    }


@pytest.fixture
def programs(rabbitmq):
    """Settings of each user's programs, on two virtual hosts of their own."""
    owner_urls = [rabbitmq.new_vhost() for _ in range(2)]
    tasks, events = (url.rpartition("/")[2] for url in owner_urls)
    for user, rights in USERS.items():
        rabbitmq.control("add_user", user, "secret")
        for vhost, right in zip((events, tasks), rights, strict=True):
            rabbitmq.control("set_permissions", "-p", vhost, user, *right)
    yield {user: urls(rabbitmq, user, tasks, events) for user in USERS} | {"operator": owner_urls}
    for user in USERS:
        rabbitmq.control("delete_user", user)


@pytest.fixture
def stack(programs, tmp_path):
    service = programs["service"]
    variables = {"TASKBRIDGE_EVENTS_URL": service["TASKBRIDGE_EVENTS_URL"]}
    stack = Stack(tmp_path, service["TASKBRIDGE_BROKER_URL"], **variables)
    exchange = kombu.Exchange("taskbridge", type="fanout", durable=False)
    with kombu.Connection(programs["operator"][1]) as connection:
        assert stream.declare(connection, exchange, stack.settings)
    try:
        stack.start_server(**programs["server"])
        stack.start_worker(**programs["worker"])
        yield stack
    finally:
        stack.stop()


def test_a_job_is_run_and_watched_and_cancelled_with_no_more_rights_than_that(stack):
    job = Watched(stack, "support.add", 1, 1)
    assert job.end()["state"] == "succeeded"
    waiting = Watched(stack, "support.linger", 60)
    waiting.until("progress")
    stack.bridge.cancel(waiting.id)
    assert waiting.end()["state"] == "cancelled"


@pytest.mark.parametrize("user", ["worker", "service"])
def test_who_only_reports_reads_no_events(stack, programs, user):
    with kombu.Connection(programs[user]["TASKBRIDGE_EVENTS_URL"]) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        with pytest.raises(AccessRefused):
            channel.basic_consume("taskbridge.stream", arguments={"x-stream-offset": "first"})
    with kombu.Connection(programs[user]["TASKBRIDGE_EVENTS_URL"]) as connection:
        channel = connection.channel()
        with pytest.raises(AccessRefused):
            channel.queue_declare("taskbridge.of-mine", exclusive=True)
