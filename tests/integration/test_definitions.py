"""A node that loads the definitions of production at each start."""

from __future__ import annotations

import itertools
import subprocess
import sys

import kombu
import pytest

from bridge import Settings
from bridge.bus.write_only_manager import new_write_only_manager
from socket_server.bus.sources import Stream
from support.process import ROOT
from support.rabbitmq import RabbitMQ
from support.wait import until

SCRIPT = ROOT / "compose" / "rabbitmq" / "definitions.py"
USERS = ("operator", "worker", "server", "service", "flower", "archive")


@pytest.fixture
def node(tmp_path):
    for user in USERS:
        (tmp_path / user).write_text(f"secret-of-{user}")
    definitions = tmp_path / "definitions.json"
    run("--secrets", tmp_path, "--output", definitions)
    (tmp_path / "node").mkdir()
    node = RabbitMQ(tmp_path / "node", definitions, "operator:secret-of-operator@events")
    try:
        yield node.start()
    finally:
        node.kill()


def run(*arguments):
    subprocess.run([sys.executable, SCRIPT, *arguments], check=True, timeout=60)


@pytest.mark.long
def test_a_node_with_the_stream_starts_again_after_its_stop_and_after_its_death(node, tmp_path):
    (tmp_path / "operator_events_url").write_text(node.url)
    run("--declare", tmp_path / "operator_events_url")
    settings = Settings.from_environ({"TASKBRIDGE_EVENTS_URL": node.url})
    for number, end in enumerate((node.stop, node.kill, node.stop), 1):
        writer = new_write_only_manager(settings)
        writer.emit("event", {})  # confirmed by the stream, to which it must be bound
        writer.close()
        end()
        node.start()
        with kombu.Connection(node.url) as connection:
            channel = connection.default_channel
            channel.exchange_declare("taskbridge", "fanout", passive=True)
            channel.queue_declare("taskbridge.stream", passive=True)
            messages = Stream(settings).read(connection)
            seen = itertools.accumulate(message is not None for message in messages)
            until(lambda: next(seen) == number, 30, "all events of before")  # noqa: B023
