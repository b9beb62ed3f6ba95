"""Publishing events: what reached no stream is not taken for published."""

from __future__ import annotations

import logging

import kombu
import pytest

from bridge.bus import stream, write_only_manager
from bridge.settings import Settings
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
    until(lambda: messages(channel, settings) == 2, 10, "the second event in the stream")


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
    until(lambda: channel.basic_get(queue, no_ack=True), 10, "the event at who listens")
