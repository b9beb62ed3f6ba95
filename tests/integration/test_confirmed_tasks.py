"""Enqueuing: a task that no queue takes is refused, and never a job that waits for ever."""

from __future__ import annotations

import kombu
import pytest
from celery import chord, group

from bridge import Bridge
from bridge.bus import confirms
from bridge.errors import BrokerUnavailable, QueueUnavailable

#: Of a queue that holds one message and refuses the next.
FULL = {"x-max-length": 1, "x-overflow": "reject-publish"}


@pytest.fixture
def bridge(rabbitmq):
    with Bridge(rabbitmq.new_vhost()) as bridge:
        yield bridge


@pytest.fixture
def channel(bridge):
    with kombu.Connection(bridge.settings.broker) as connection:
        yield connection.channel()


def waiting(channel, queue="celery"):
    """Return how many messages are in a queue."""
    return channel.queue_declare(queue, passive=True).message_count


def test_a_queue_that_was_deleted_is_declared_again_and_takes_the_task(bridge, channel):
    bridge.enqueue("a.task")
    channel.queue_delete("celery")
    for count in (1, 2):
        bridge.enqueue("a.task")
        assert waiting(channel) == count


def test_a_task_that_no_queue_takes_is_refused_with_the_queue_and_the_remedy(bridge, channel):
    channel.exchange_declare("bare", "direct", durable=True, auto_delete=False)
    for _ in range(3):
        with pytest.raises(QueueUnavailable, match=r"'gone'.*start a worker on that queue"):
            bridge.enqueue("a.task", exchange="bare", routing_key="gone")
    with pytest.raises(QueueUnavailable, match=r"'gone' .exchange missing"):
        bridge.enqueue("a.task", exchange="missing", routing_key="gone")
    bridge.enqueue("a.task")
    assert waiting(channel) == 1


def test_a_task_for_a_full_queue_is_refused(bridge, channel):
    channel.queue_declare("small", durable=True, auto_delete=False, arguments=FULL)
    bare = {"exchange": "amq.direct", "routing_key": "small"}
    channel.queue_bind("small", "amq.direct", "small")
    bridge.enqueue("a.task", **bare)
    with pytest.raises(QueueUnavailable, match="queue is full"):
        bridge.enqueue("a.task", **bare)
    assert waiting(channel, "small") == 1


@pytest.mark.parametrize("canvas", [group, lambda tasks: chord(tasks, tasks[0])])
def test_each_task_of_a_canvas_must_be_taken(bridge, canvas):
    task = bridge.app.signature("a.task").set(exchange="amq.direct", routing_key="gone")
    with pytest.raises(BrokerUnavailable, match="no queue takes tasks for 'gone'"):
        bridge.enqueue(canvas([task, task]))


def test_remote_control_needs_no_worker_that_listens(bridge):
    bridge.app.control.broadcast("revoke", {"task_id": "x"})


def test_a_broker_under_an_alarm_of_its_memory_is_unavailable(
    bridge, channel, rabbitmq, monkeypatch
):
    monkeypatch.setattr(confirms, "PATIENCE", 0.5)
    bridge.enqueue("a.task")
    rabbitmq.control("set_vm_memory_high_watermark", "0")
    try:
        for _ in range(2):
            with pytest.raises(BrokerUnavailable, match="does not confirm messages"):
                bridge.enqueue("a.task")
    finally:
        rabbitmq.control("set_vm_memory_high_watermark", "0.4")
    bridge.enqueue("a.task")
    # The broker may have read what it had not confirmed, or may still read it.
    assert 2 <= waiting(channel) <= 4, "what was not confirmed is not published again"
