"""Reading RabbitMQ's stream: what was missed is noticed, and nothing else is taken for it."""

from __future__ import annotations

import kombu
import pytest

from bridge.bus import stream
from bridge.settings import Settings
from socket_server.bus.sources import Stream
from socket_server.bus.stream_reach import StreamReach
from socket_server.concurrency.state_lock import StateLock
from support.wait import until

#: Messages of a tenth of a file each.
SIZE, MESSAGES = 100_000, 10
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


class Reader:
    """Reads a stream over a connection."""

    def __init__(self, source, connection):
        self.source, self._messages = source, source.read(connection)
        next(self._messages)  # from here on it has asked the broker

    def take(self, count):
        """Read so many messages; return their offsets."""
        offsets = []

        def read():
            if message := next(self._messages):
                offsets.append(message.offset)
            return len(offsets) == count

        until(read, 30, f"{count} messages")
        return offsets


def test_an_offset_that_the_broker_took_for_itself_is_not_a_message_that_was_missed(
    settings, connection
):
    publish(connection, 1)
    reader = Reader(Stream(settings), connection)
    [first] = reader.take(1)

    published = 0

    def passed_over():
        nonlocal published
        publish(connection, MESSAGES)
        published += MESSAGES
        return reader.take(MESSAGES)[-1] - first > published

    until(passed_over, 60, "a file of the stream to be begun")
    assert not reader.source.broken


def test_who_comes_back_too_late_knows_that_messages_were_missed(settings, connection):
    publish(connection, 1)
    source = Stream(settings)
    Reader(source, connection).take(1)

    def first_kept(source):
        with kombu.Connection(settings.events) as another:
            reader = Reader(source, another)
            # The broker may have forgotten all of them, if it began a new file with the last.
            publish(connection, 1)
            return reader.take(1)[0]

    def forgets():
        publish(connection, 12 * MESSAGES)
        return first_kept(Stream(settings)) > 2

    until(forgets, 60, "the stream to forget the second message")
    assert first_kept(source) > 2
    assert source.broken


def test_a_server_knows_how_far_back_the_stream_is_whole(settings, connection):
    source = Stream(settings)
    reach = StreamReach(settings, lambda: source.next, StateLock())
    reach.look()
    assert reach.seconds is None  # nothing was read yet
    publish(connection, 1)
    reader = Reader(source, connection)
    reader.take(1)
    reach.look()
    assert (reach.seconds, reach.part) == (settings.replay, 1.0)

    def forgets():
        publish(connection, MESSAGES)
        reader.take(MESSAGES)
        reach.look()
        return reach.part < 1.0

    until(forgets, 60, "the stream to forget what was seen")
    assert 0.0 <= reach.seconds < 60.0


def test_while_the_broker_is_away_a_server_knows_as_much_as_before(settings, connection):
    away = settings.replace(events_url="amqp://guest:guest@127.0.0.1:1//")
    reach = StreamReach(away, lambda: 1, StateLock())
    reach.look()
    assert reach.seconds is None
