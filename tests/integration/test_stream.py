"""Reading RabbitMQ's stream: what was missed is noticed, and nothing else is taken for it."""

from __future__ import annotations

import kombu
import pytest

from bridge import stream
from bridge.settings import Settings
from socket_server.listener import Stream
from support.wait import until

#: Messages of a tenth of a file each, so that three files are begun and none is forgotten.
SIZE, MESSAGES = 100_000, 30
EXCHANGE = kombu.Exchange("taskbridge", "fanout", durable=False)


@pytest.fixture
def settings(rabbitmq):
    environ = {"TASKBRIDGE_EVENTS_URL": rabbitmq.new_vhost(), "TASKBRIDGE_STREAM_BYTES": "4000000"}
    return Settings.from_environ(environ)


@pytest.fixture
def connection(settings):
    with kombu.Connection(settings.events) as connection:
        assert stream.declare(connection, EXCHANGE, settings)
        yield connection


def publish(connection, count):
    """Publish so many messages."""
    producer = kombu.Producer(connection.channel(), EXCHANGE)
    for _ in range(count):
        producer.publish(b"x" * SIZE)


def take(source, connection, count):
    """Read so many messages; return their offsets."""
    offsets = []
    messages = source.read(connection)

    def read():
        if message := next(messages):
            offsets.append(message.offset)
        return len(offsets) == count

    until(read, 30, f"{count} messages")
    return offsets


def test_an_offset_that_the_broker_took_for_itself_is_not_a_message_that_was_missed(
    settings, connection
):
    publish(connection, MESSAGES)
    source = Stream(settings)
    offsets = take(source, connection, MESSAGES)
    assert offsets[-1] - offsets[0] >= MESSAGES, "no file was begun, so this has shown nothing"
    assert not source.broken


def test_who_comes_back_too_late_knows_that_messages_were_missed(settings, connection):
    publish(connection, 1)
    source = Stream(settings)
    take(source, connection, 1)
    publish(connection, 4 * MESSAGES)
    with kombu.Connection(settings.events) as another:
        [offset] = take(source, another, 1)
    assert offset > 2
    assert source.broken
