"""The place of a job in its queue: an estimate, and never one that grows."""

from __future__ import annotations

import pytest
from kombu import Connection

from bridge.bus import embedded_transport
from bridge.settings import Settings
from socket_server.estimates.queue_depth import (
    KNOWN_AT_ONCE,
    MAX_QUEUES,
    OTHERS_AT_ONCE,
    QueueDepths,
    WaitingJobs,
)


def lines(*jobs, queue="q"):
    waiting = WaitingJobs()
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


@pytest.mark.parametrize("ready", [0, 2])
def test_one_job_alone_is_next_of_those_whose_messages_a_worker_holds(ready):
    waiting = lines("a", "b", "c", "d")
    assert waiting.ahead("q", ready) == {"a": 0, "b": 1, "c": 2, "d": 3}
    waiting.leave("a")
    assert waiting.ahead("q", ready) == {"b": 0, "c": 1, "d": 2}


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
    embedded_transport.register()
    with Connection(settings.broker) as connection:
        queue = connection.SimpleQueue("celery")
        queue.put({})
        queue.put({})
        gauge = QueueDepths(settings)
        assert gauge.read(["celery", "nobody's"]) == {"celery": (2, False), "nobody's": None}
        gauge.close()


def test_a_broker_that_is_away_tells_nothing():
    gauge = QueueDepths(Settings(broker_url="amqp://guest:guest@127.0.0.1:1//"))
    assert gauge.read(["celery"]) == {}


def round_of(waiting, existing):
    """Look at the queues whose turn it is; return their names."""
    names = waiting.queues()
    waiting.looked(names, [name for name in names if name in existing])
    return names


def test_names_without_a_queue_hold_up_none_that_exists():
    waiting = lines("mine", queue="real")
    round_of(waiting, {"real"})
    for number in range(10_000):
        waiting.join(f"job {number}", f"made up {number}")
    for _ in range(50):
        names = round_of(waiting, {"real"})
        assert names[0] == "real"
        assert len(names) <= KNOWN_AT_ONCE + OTHERS_AT_ONCE
    assert len(waiting) <= MAX_QUEUES


def test_a_queue_that_is_new_is_looked_at_before_names_that_came_earlier():
    waiting = WaitingJobs()
    for number in range(10_000):
        waiting.join(f"job {number}", f"made up {number}")
    waiting.join("mine", "real")
    assert waiting.queues()[0] == "real"
    assert waiting.has("real")


def test_each_of_many_queues_has_its_turn():
    waiting, existing = WaitingJobs(), {f"real {number}" for number in range(300)}
    for name in sorted(existing):
        waiting.join(f"job of {name}", name)
    seen = [name for _ in range(40) for name in round_of(waiting, existing)]
    assert set(seen) == existing
    again = [name for _ in range(3) for name in round_of(waiting, existing)]
    assert sorted(again) == sorted(existing)


def test_a_queue_that_is_gone_is_not_known_any_more():
    waiting = lines("a", queue="q")
    round_of(waiting, {"q"})
    round_of(waiting, set())
    waiting.join("b", "other")
    assert waiting.queues() == ["other", "q"]
    waiting.leave("a")
    assert waiting.queues() == ["other"]


@pytest.mark.parametrize("name", ["", "x" * 256, "\u00e4" * 128, "x" * 60_000])
def test_what_is_no_name_of_a_queue_is_ignored(name):
    waiting = lines("a", queue=name)
    assert (len(waiting), waiting.queues()) == (0, [])


def test_a_broker_that_is_slow_is_asked_no_more_after_a_while(settings, monkeypatch):
    now, gauge = [0.0], QueueDepths(settings)
    monkeypatch.setattr("socket_server.estimates.queue_depth.time.monotonic", lambda: now[0])

    def level(name):
        now[0] += 0.3

    monkeypatch.setattr(gauge, "_level", level)
    assert len(gauge.read([f"q{number}" for number in range(110)])) == 4
