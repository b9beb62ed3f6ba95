"""What an installed worker tells a server that looks for a task's message."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery import Celery
from celery.worker.control import Panel
from kombu import Exchange, Queue

from bridge import held_messages
from bridge.held_messages import COMMAND, FIELD, Presence


class Refused(Exception):
    """The broker refuses."""


class Channel:
    """A channel of a broker that refuses some queues."""

    def __init__(self, refused):
        self.refused, self.declared, self.consumed = refused, {}, {}

    def queue_declare(self, name, *, durable, auto_delete, arguments):
        if name in self.refused:
            raise Refused(name)
        self.declared[name] = arguments

    def basic_consume(self, name, *, no_ack, on_cancel):
        self.consumed[name] = on_cancel


@pytest.fixture
def consumer():
    """The consumer of a worker, with the bootstep, and the channel of its broker."""
    app = Celery("held", broker="amqp://", set_as_current=False)
    quorum, exchange = {"x-queue-type": "quorum"}, Exchange("tasks")
    app.conf.task_queues = [
        Queue("mail", exchange),
        Queue("reports", exchange, queue_arguments=quorum),
        Queue("refused", exchange),
        Queue("own", exchange, auto_delete=True),
        Queue("delayed", Exchange("later", "x-delayed-message")),
        Queue("q" * 250, exchange),
    ]
    channel = Channel(["refused.taskbridge"])
    connection = SimpleNamespace(channel=lambda: channel, channel_errors=(Refused,))
    consumer = SimpleNamespace(app=app, connection=connection, channel=channel, steps=[])
    consumer.task_consumer = SimpleNamespace(queues=app.conf.task_queues)
    consumer.steps += [object(), Presence(consumer)]
    return consumer


def test_a_worker_consumes_a_queue_beside_each_queue_of_tasks_that_may(consumer, caplog):
    [_, presence] = consumer.steps
    presence.start(consumer)
    assert presence.queues == ["mail.taskbridge", "reports.taskbridge"]
    assert consumer.channel.declared["reports.taskbridge"]["x-queue-type"] == "quorum"
    assert "may not consume the queue refused.taskbridge" in caplog.text
    presence.stop(consumer)
    assert presence.queues == ["mail.taskbridge", "reports.taskbridge"]
    consumer.channel.consumed["mail.taskbridge"]("tag")
    assert presence.queues == ["reports.taskbridge"]


def test_a_worker_tells_a_server_that_asks_which_tasks_it_has_received(consumer, monkeypatch):
    monkeypatch.setitem(Panel.data, COMMAND, None)
    consumer.steps[1].queues = ["mail.taskbridge"]
    held_messages.answering({"waits for its rate limit"})
    ask, state = Panel.data[COMMAND], SimpleNamespace(consumer=consumer)
    ids = ["waits for its rate limit", "unknown"]
    assert ask(state, ids=ids) == {}, "Celery's own answer"
    told = ask(state, ids=ids, **{FIELD: True})[FIELD]
    assert told["tasks"] == ["waits for its rate limit"]
    assert {"mail", "mail.taskbridge"} <= set(told["queues"])
    consumer.task_consumer = None  # it has no connection
    assert ask(state, ids=ids, **{FIELD: True})[FIELD]["queues"] == ["mail.taskbridge"]
