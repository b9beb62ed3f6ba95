"""A task whose worker died is waited for as long as its message may come to another worker."""

from __future__ import annotations

import pytest

from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.concurrency.state_lock import NoLock
from socket_server.estimates.queue_depth import QueueDepth
from socket_server.journal.change import Change
from socket_server.liveness.redeliveries import Redeliveries
from support.clock import Clock

LOST = 60.0


class Server:
    """Everything that the redeliveries use: verdicts, the broker's queues, background tasks."""

    def __init__(self, queue="celery", within=0.0):
        self.clock, self.state_lock = Clock(100.0), NoLock()
        self.levels, self.asked, self.closed, self.given_up = {}, [], 0, []
        self.redeliveries = Redeliveries(self, self, self, LOST, self.clock)
        self.hear("started", queue=queue, redelivered_within=within)

    def hear(self, kind, run=1, **data):
        data = {name: value for name, value in data.items() if value is not None}
        event = Event(job="j", task="j", type=kind, run=run, seq=0, at=1.0, data=data)
        assert self.redeliveries(Change({}, event, Snapshot("j"), ends=False, live=True)) == ()

    def start_background_task(self, call, *arguments):
        call(*arguments)

    def read(self, queues):
        self.asked.append(queues)
        return self.levels

    def close(self):
        self.closed += 1

    def give_up(self, job, task):
        self.given_up.append(task)

    def wait(self, seconds):
        self.clock.now += seconds
        self.redeliveries.look()
        return self.given_up


def test_it_knows_within_what_time_a_running_task_comes_again():
    server = Server(within=3600)
    assert server.redeliveries.within("j", "j") == 3600
    assert server.redeliveries.within("j", "other") is None
    server.hear("succeeded")
    assert server.redeliveries.within("j", "j") is None


@pytest.mark.parametrize(
    ("depth", "given_up"),
    [
        (QueueDepth(0, True), True),
        (QueueDepth(0, None), True),
        (None, True),
        (QueueDepth(1, True), False),
        (QueueDepth(0, False), False),
    ],
)
def test_it_is_given_up_unless_its_queue_may_hold_it(depth, given_up):
    server = Server(within=30)
    server.levels = {"celery": depth}
    server.redeliveries.wait_for("j", "j")
    assert server.wait(LOST + 29) == server.asked == []
    assert server.wait(1) == ["j"] * given_up
    assert server.asked == [["celery"]]
    assert server.closed == 1
    server.wait(LOST)
    assert len(server.asked) == 2 - given_up


def test_a_broker_that_does_not_answer_decides_nothing():
    server = Server()
    server.redeliveries.wait_for("j", "j")
    assert server.wait(LOST) == []
    server.levels = {"celery": QueueDepth(0, True)}
    assert server.wait(LOST) == ["j"]


def test_a_task_whose_queue_is_unknown_is_given_up_in_time():
    server = Server(queue=None)
    server.redeliveries.wait_for("j", "j")
    assert server.wait(LOST) == ["j"]
    assert server.asked == []


@pytest.mark.parametrize("kind", ["started", "succeeded", "retrying", "cancelled"])
def test_an_event_of_the_task_ends_the_wait(kind):
    server = Server()
    server.redeliveries.wait_for("j", "j")
    server.hear(kind, run=2)
    assert server.wait(10 * LOST) == []


def test_a_task_that_is_not_delivered_again_is_not_waited_for():
    server = Server(within=None)
    server.redeliveries.wait_for("j", "j")
    assert server.wait(10 * LOST) == []
