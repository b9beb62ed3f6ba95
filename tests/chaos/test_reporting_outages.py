"""Whatever becomes of the broker, a job goes on as if nothing had happened, and loses no word.

The job's events travel over a RabbitMQ node of this module's own, its task over another broker.
How much longer it takes is measured by benchmarks/outage_job.py, not asserted here.
"""

from __future__ import annotations

import sys

import pytest
from celery import Celery
from kombu import Connection, Exchange

from bridge import Settings
from bridge.bus import embedded_transport
from bridge.bus.stream import declare
from support.bus import Bus
from support.link import Link
from support.rabbitmq import RabbitMQ
from support.stack import Stack
from support.wait import until

pytestmark = pytest.mark.timeout(400)

CHANNEL = "chaos"
#: Seconds of work of the job.
WORK = 4.0
#: Seconds that a call may take on a machine that is busy; one that waits for a broker that is away
#: takes longer, whatever it waits for.
A_WAIT = 1.0


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A node that nobody else uses, for it is treated badly."""
    node = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        node.start()
        # Not by the first job: RabbitMQ 3.10 loses a stream if it is killed within a second of
        # making it.
        with Connection(node.url) as connection:
            declare(
                connection, Exchange(CHANNEL, "fanout", durable=False), Settings(channel=CHANNEL)
            )
        yield node
    finally:
        node.thaw()
        node.stop()


@pytest.fixture
def reporting(node, tmp_path):
    """Start a worker of split_app, whose events go through a link to the node."""
    with Link(node.port) as link:
        url = f"amqp://guest:guest@127.0.0.1:{link.port}//"
        stack = Stack(tmp_path, url, TASKBRIDGE_CHANNEL=CHANNEL)
        command = [sys.executable, "-m", "celery", "-A", "support.split_app", "worker"]
        quick = ["--loglevel", "INFO", "--concurrency", "1", "--without-mingle", "--without-gossip"]
        worker = stack.start("worker", *command, *quick)
        worker.await_output("ready.")
        try:
            yield Reporting(stack, link, Bus(stack.settings, node.url))
        finally:
            stack.stop()


class Reporting:
    """A job that reports over a link."""

    def __init__(self, stack, link, bus):
        self.link, self.bus = link, bus
        self._app = stack.settings.replace(broker_url=None)

    def start(self):
        embedded_transport.register()
        app = Celery(broker=self._app.broker, backend=self._app.results, set_as_current=False)
        return app.send_task("split.steady", [WORK], headers={"taskbridge": {"owner": "me"}})

    def check(self, result):
        """Assert that the job felt nothing, and that all it said is on the bus, once."""
        took = result.get(timeout=60)
        assert took["max"] < A_WAIT
        events = self.bus.await_end(result.id)
        assert events[-1].type == "succeeded"
        assert sum(event.data.get("dropped", 0) for event in events) == 0
        count = round(WORK / 0.01)
        said = [line["message"] for e in events for line in e.data.get("lines", [])]
        assert said == [f"{n}\n" for n in range(count)]
        chunks = [chunk for event in events for chunk in event.data.get("chunks", [])]
        assert chunks == [f"{n}\n" for n in range(count)]
        sequence = [event.seq for event in events if event.type != "progress"]
        assert sequence == list(range(len(sequence)))


def await_first_line(reporting, result):
    until(lambda: any(event.task == result.id for event in reporting.bus.events()), 20, "an event")


def test_a_broker_that_is_killed_in_mid_job_and_comes_back(node, reporting):
    result = reporting.start()
    await_first_line(reporting, result)
    node.kill()
    try:
        result.get(timeout=60)
    finally:
        node.start()
    reporting.check(result)


def test_a_broker_that_is_killed_and_comes_back_in_mid_job(node, reporting):
    result = reporting.start()
    await_first_line(reporting, result)
    node.kill()
    node.start()
    reporting.check(result)


def test_a_broker_that_is_frozen_in_mid_job(node, reporting):
    result = reporting.start()
    await_first_line(reporting, result)
    node.freeze()
    try:
        result.get(timeout=60)
    finally:
        node.thaw()
    reporting.check(result)


def test_a_link_that_swallows_everything_in_mid_job(reporting):
    result = reporting.start()
    await_first_line(reporting, result)
    reporting.link.swallow()
    result.get(timeout=60)
    reporting.link.heal()
    reporting.check(result)


def test_a_broker_that_is_absent_from_the_start(node, reporting):
    node.stop()
    try:
        result = reporting.start()
        result.get(timeout=60)
    finally:
        node.start()
    reporting.check(result)
