"""The RabbitMQ node on which the other tests rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from amqp.exceptions import InternalError
from kombu import Connection
from kombu.exceptions import OperationalError

from support.rabbitmq import RabbitMQ
from support.wait import until


def pass_a_message(url, text):
    """Send a message to a queue, read it, and return what was read."""
    with Connection(url, connect_timeout=2) as connection:
        queue = connection.SimpleQueue("test")
        queue.put(text)
        message = queue.get(timeout=10)
        message.ack()
        queue.close()
        return message.payload


def processes_of(node):
    """Return the command lines of the processes that work in a node's folder or environment."""
    marks = (str(node.folder).encode(), f"ERL_EPMD_PORT={node.environ['ERL_EPMD_PORT']}".encode())
    return [
        command.replace(b"\0", b" ")
        for process in Path("/proc").glob("[0-9]*")
        if (command := read(process / "cmdline"))
        and any(mark in command + read(process / "environ") for mark in marks)
    ]


def read(path):
    """Return a file's bytes; none if it is gone or another user's."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def assert_denies_what_is_deprecated(url):
    """Check that a node which knows of deprecated features (3.12 and newer) denies them."""
    with Connection(url, connect_timeout=2) as connection:
        channel = connection.default_channel
        version = channel.connection.server_properties["version"]
        if tuple(map(int, version.split(".")[:2])) < (3, 12):
            return
        with pytest.raises(InternalError, match="transient_nonexcl_queues"):
            channel.queue_declare("transient", durable=False, auto_delete=False)


@pytest.fixture
def node(tmp_path):
    node = RabbitMQ(tmp_path)
    try:
        yield node.start()
    finally:
        node.kill()


def test_a_node_passes_messages_freezes_restarts_and_leaves_no_process(node):
    assert pass_a_message(node.url, "hello") == "hello"
    assert pass_a_message(node.new_vhost(), "apart") == "apart"
    assert processes_of(node)
    assert_denies_what_is_deprecated(node.url)

    node.freeze()
    with pytest.raises(OperationalError, match="timed out"):
        pass_a_message(node.url, "lost")
    node.thaw()
    assert pass_a_message(node.url, "awake") == "awake"

    node.kill()
    node.start()
    assert pass_a_message(node.url, "again") == "again"

    node.stop()
    until(lambda: not processes_of(node), 30, "the node's processes to be gone")


def test_a_redis_server_of_the_tests_own_answers(redis_server):
    with Connection(redis_server.url) as connection:
        connection.connect()
        assert connection.connected
