"""The place of a job in its queue: an estimate, and never one that grows."""

from __future__ import annotations

import pytest
from kombu import Connection

from bridge import transport
from bridge.settings import Settings
from socket_server.queues import Gauge, Lines


def lines(*jobs, queue="q"):
    waiting = Lines()
    for job in jobs:
        waiting.join(job, queue)
    return waiting


def test_those_that_came_before_are_ahead():
    assert lines("a", "b", "c").ahead("q", 3) == {"a": 0, "b": 1, "c": 2}


def test_what_is_there_past_taskbridge_may_be_ahead_too():
    assert lines("a", "b").ahead("q", 5) == {"a": 3, "b": 4}


def test_an_estimate_never_grows():
    waiting = lines("a", "b")
    waiting.ahead("q", 2)
    assert waiting.ahead("q", 9) == {"a": 0, "b": 1}


def test_who_leaves_makes_room():
    waiting = lines("a", "b")
    waiting.ahead("q", 2)
    waiting.leave("a")
    waiting.leave("unknown")
    assert waiting.ahead("q", 1) == {"b": 0}
    waiting.leave("b")
    assert (len(waiting), waiting.queues()) == (0, [])


def test_a_message_that_was_taken_a_moment_ago_leaves_nobody_ahead():
    assert lines("a").ahead("q", 0) == {"a": 0}


def test_queues_are_kept_apart():
    waiting = lines("a", "b")
    waiting.join("x", "other")
    waiting.join("a", "other")  # it cannot wait twice
    assert waiting.ahead("other", 1) == {"x": 0}
    assert sorted(waiting.queues()) == ["other", "q"]


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path)


def test_the_embedded_broker_tells_how_many_wait_and_that_there_is_no_worker(settings):
    transport.register()
    with Connection(settings.broker) as connection:
        queue = connection.SimpleQueue("celery")
        queue.put({})
        queue.put({})
        gauge = Gauge(settings)
        assert gauge.read(["celery", "nobody's"]) == {"celery": (2, False), "nobody's": None}
        gauge.close()


def test_a_broker_that_is_away_tells_nothing():
    gauge = Gauge(Settings(broker_url="amqp://guest:guest@127.0.0.1:1//"))
    assert gauge.read(["celery"]) == {}
