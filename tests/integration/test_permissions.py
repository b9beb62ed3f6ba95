"""Workers write events and read none; servers read them; each with a user of its own."""

from __future__ import annotations

import subprocess
import sys

import kombu
import pytest
from amqp.exceptions import AccessRefused

from support.process import ROOT
from support.rabbitmq import RabbitMQ
from support.stack import Stack
from support.wait import until
from support.watched import Watched

USERS = ("operator", "worker", "server", "service", "flower")
SCRIPT = ROOT / "compose" / "rabbitmq" / "definitions.py"


def define(folder):
    """Run the script with passwords of our own; return what it did."""
    return subprocess.run(
        [sys.executable, SCRIPT, "--secrets", folder], capture_output=True, text=True, cwd=folder
    )


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A RabbitMQ node with the definitions of production, read at each start."""
    folder = tmp_path_factory.mktemp("permissions")
    for user in USERS:
        (folder / user).write_text(f"secret-of-{user}\n")
    (folder / "definitions.json").write_text(define(folder).stdout)
    (folder / "rabbitmq").mkdir()
    login = "operator:secret-of-operator@tasks"
    node = RabbitMQ(folder / "rabbitmq", folder / "definitions.json", login)
    try:
        yield node.start()
    finally:
        node.stop()


@pytest.fixture
def programs(node):
    """Settings of each user's programs."""
    return {
        user: {
            "TASKBRIDGE_BROKER_URL": f"amqp://{user}:secret-of-{user}@127.0.0.1:{node.port}/tasks",
            "TASKBRIDGE_EVENTS_URL": f"amqp://{user}:secret-of-{user}@127.0.0.1:{node.port}/events",
        }
        for user in USERS
    }


@pytest.fixture
def stack(programs, new_stack):
    service = programs["service"]
    events = {"TASKBRIDGE_EVENTS_URL": service["TASKBRIDGE_EVENTS_URL"]}
    stack = new_stack(service["TASKBRIDGE_BROKER_URL"], **events)
    stack.start_server(**programs["server"])
    stack.start_worker(**programs["worker"])
    return stack


def assert_works(stack):
    assert Watched(stack, "support.add", 1, 1).end()["state"] == "succeeded"


def test_a_job_is_run_and_watched_and_cancelled_with_no_more_rights_than_that(stack: Stack):
    assert_works(stack)
    waiting = Watched(stack, "support.linger", 60)
    waiting.until("progress")
    stack.bridge.cancel(waiting.id)
    assert waiting.end()["state"] == "cancelled"


def test_a_broker_that_was_restarted_has_all_again_that_nobody_else_may_declare(node, stack):
    node.stop()
    node.start()
    until(stack.healthy, 30, "the server to read again")
    assert_works(stack)


@pytest.mark.parametrize("user", ["worker", "service"])
def test_who_only_reports_reads_no_events(node, programs, user):
    with kombu.Connection(programs[user]["TASKBRIDGE_EVENTS_URL"]) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        with pytest.raises(AccessRefused):
            channel.basic_consume("taskbridge.stream", arguments={"x-stream-offset": "first"})
    with kombu.Connection(programs[user]["TASKBRIDGE_EVENTS_URL"]) as connection:
        channel = connection.channel()
        with pytest.raises(AccessRefused):
            channel.queue_declare("taskbridge.of-mine", exclusive=True)


def test_a_password_that_is_missing_is_named(tmp_path):
    done = define(tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"{tmp_path}/operator: No such file or directory: put the user's secret there\n"
    )
