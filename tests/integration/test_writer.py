"""Publishing events: what reached no stream is not taken for published."""

from __future__ import annotations

import logging

import kombu
import pytest
from amqp.exceptions import MessageNacked

from bridge.bus import stream, write_only_manager
from bridge.bus.write_only_manager import Emission
from bridge.settings import Settings
from support.bus import Bus
from support.wait import until


@pytest.fixture
def settings(rabbitmq):
    return Settings.from_environ({"TASKBRIDGE_EVENTS_URL": rabbitmq.new_vhost()})


@pytest.fixture
def publisher(settings):
    made = write_only_manager.new_write_only_manager(settings)
    yield made
    made.close()


@pytest.fixture
def channel(settings):
    with kombu.Connection(settings.events) as connection:
        yield connection.channel()


def bindings_lost(channel, settings):
    """Unbind the stream, as RabbitMQ 3.10 does at its start with one made by definitions."""
    channel.queue_unbind(stream.name_of(settings.channel), settings.channel)


def messages(channel, settings):
    return channel.queue_declare(stream.name_of(settings.channel), passive=True).message_count


def test_an_event_that_reached_no_stream_is_refused_and_the_next_one_reaches_it(
    publisher, channel, settings
):
    publisher.emit("event", {"number": 1})
    bindings_lost(channel, settings)
    with pytest.raises(stream.StreamAway, match="not bound"):
        publisher.emit("event", {"number": 2})
    publisher.emit("event", {"number": 2})
    until(lambda: messages(channel, settings) == 2, 30, "the second event in the stream")


def test_without_its_stream_for_too_long_it_publishes_to_who_listens(
    publisher, channel, settings, monkeypatch, caplog
):
    publisher.emit("event", {"number": 1})
    queue = channel.queue_declare("", exclusive=True).queue
    channel.queue_bind(queue, settings.channel)
    monkeypatch.setattr(write_only_manager, "STREAM_PATIENCE", 0.0)
    monkeypatch.setattr(stream, "declare", lambda *_: False)
    publisher._forget()
    with caplog.at_level(logging.WARNING):
        publisher.emit("event", {"number": 2})
    assert "without a stream" in caplog.text
    until(lambda: channel.basic_get(queue, no_ack=True), 30, "the event at who listens")


def numbers(settings, *expected):
    """Wait until the stream has as many messages, and return the numbers in all of them."""
    bus = Bus(settings, settings.events)

    def found():
        return [one["data"][0]["number"] for one in bus.messages()]

    # How much is in a stream RabbitMQ tells a little late.
    until(lambda: len(found()) >= len(expected), 20, "the messages in the stream", interval=0.2)
    return found()


def test_many_events_are_in_the_stream_in_their_order_when_the_call_returns(publisher, settings):
    """They are more than are written before their confirms are awaited."""
    emissions = [Emission("event", {"number": number, "text": "x" * 500}) for number in range(500)]
    publisher.emit_all(emissions)
    assert publisher._tag == 500
    assert not publisher._unconfirmed
    assert numbers(settings, *range(500)) == list(range(500))


def test_of_events_of_which_one_reached_no_stream_all_are_refused(publisher, channel, settings):
    publisher.emit("event", {"number": 0})
    bindings_lost(channel, settings)
    emissions = [Emission("event", {"number": number}) for number in (1, 2, 3)]
    with pytest.raises(stream.StreamAway, match="not bound"):
        publisher.emit_all(emissions)
    publisher.emit_all(emissions)
    assert numbers(settings, 0, 1, 2, 3) == [0, 1, 2, 3]


def test_events_that_the_broker_refuses_are_not_taken_for_published(publisher, channel, settings):
    publisher.emit("event", {"number": 0})
    full = {"x-max-length": 0, "x-overflow": "reject-publish"}
    channel.queue_declare("full", exclusive=True, arguments=full)
    channel.queue_bind("full", settings.channel)
    emissions = [Emission("event", {"number": number}) for number in range(3)]
    with pytest.raises(MessageNacked):
        publisher.emit_all(emissions)
    channel.queue_delete("full")
    publisher.emit_all(emissions)
