"""RabbitMQ waits for acknowledgements as long as tasks may take, whichever version it has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery import Celery, signals
from kombu import Queue

from bridge import Durability, Settings
from bridge.durable import consumer_timeout, installation

DAY = {"x-consumer-timeout": consumer_timeout.TIMEOUT}
QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture
def consumed():
    """Return the arguments with which a worker consumes a queue of a broker of some version."""
    app = Celery("own", broker="amqp://", set_as_current=False)
    installation.install(app, Durability(), Settings(broker_url="amqp://"))
    app.amqp.Consumer = lambda channel, *, queues, **_: queues[0].consumer_arguments

    def consumed(version, queue, product="RabbitMQ"):
        app.amqp.queues = app.amqp.Queues([queue])
        told = {"version": version, "product": product}
        connection = SimpleNamespace(connection=SimpleNamespace(server_properties=told))
        return app.amqp.TaskConsumer(connection)

    signals.celeryd_after_setup.send("celery@here", instance=SimpleNamespace(app=app))
    return consumed


@pytest.mark.parametrize("version", ["3.10.8", "4.2.7", "4.3.6", "4.10.0", "5.0.0-rc.1"])
def test_each_version_waits_for_consumers_of_a_quorum_queue(consumed, version):
    assert consumed(version, Queue("q", queue_arguments=QUORUM)) == DAY


@pytest.mark.parametrize("version", ["3.10.8", "3.13.7", "4.2.7"])
def test_versions_before_4_3_wait_for_consumers_of_a_classic_queue(consumed, version):
    assert consumed(version, Queue("q")) == DAY


@pytest.mark.parametrize("version", ["4.3.6", "4.10.0", "5.0.0-rc.1"])
def test_later_versions_are_not_asked_to_wait_which_they_refuse(consumed, version):
    queue = Queue("q", consumer_arguments={"x-priority": 3})
    assert consumed("4.2.7", queue) == {**DAY, "x-priority": 3}
    assert consumed(version, queue) == {"x-priority": 3}
    assert consumed("4.2.7", queue) == {**DAY, "x-priority": 3}


def test_another_broker_is_asked_and_an_applications_own_time_wins(consumed):
    assert consumed("4.3.6", Queue("q"), product="LavinMQ") == DAY
    own = {"x-consumer-timeout": 5}
    assert consumed("3.13.7", Queue("q", consumer_arguments=own)) == own
