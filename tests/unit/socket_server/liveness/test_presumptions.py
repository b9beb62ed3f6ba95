"""An end that a server presumed is overturned by a stored result that says something else."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from bridge.protocol.event import Event
from socket_server.concurrency.state_lock import NoLock
from socket_server.delivery.dispatcher import Dispatcher
from socket_server.journal.journal import Journal
from socket_server.liveness.observer import CancelSweep
from socket_server.liveness.presumptions import DELAYS, JOBS, TASKS, Presumptions
from socket_server.liveness.verdicts import Verdicts
from socket_server.observability.metrics import Metrics
from support.clock import Clock


class Server:
    """The parts of a server that presume ends, and a result backend."""

    def __init__(self):
        self.clock, self.results, self.asked, self.told = Clock(100.0), {}, [], []
        state_lock = NoLock()
        state_lock.outside = self._ask
        sio = SimpleNamespace(
            start_background_task=lambda call: call(), sleep=lambda _: None, state_lock=state_lock
        )
        self.journal = Journal(epoch="e")
        self.dispatcher = Dispatcher(self.journal, self._send, Metrics())
        verdicts = Verdicts(
            self.dispatcher.tell, self.journal, SimpleNamespace(app=None), state_lock
        )
        self.presumptions = Presumptions(self.journal, verdicts, sio, self.clock)
        self.dispatcher.state_observers = [CancelSweep(self.journal), self.presumptions]

    def _send(self, change):
        self.told.append(change.event.type)
        return True

    def _ask(self, _, app, task):
        self.asked.append(task)
        state = self.results.get(task)
        return state and {"state": state, "ended_at": 5.0, "error": None, "result": 7}

    def take(self, kind, job="j", task=None, run=0, seq=0, **data):
        place = {"run": run, "seq": seq, "at": time.time()}
        self.dispatcher.take(Event(job=job, task=task or job, type=kind, data=data, **place))

    def lose(self, task="j"):
        snapshot = self.journal.of("j")
        self.dispatcher.tell(snapshot.verdict(snapshot.task(task), "lost", time.time()))

    def wait(self, seconds):
        for _ in range(round(seconds)):
            self.clock.tick(1.0)
            self.presumptions.look()

    @property
    def state(self):
        return self.journal.of("j").state


@pytest.fixture
def server():
    return Server()


@pytest.mark.parametrize("stored", ["succeeded", "failed", "lost"])
def test_a_job_that_was_cancelled_while_it_seemed_to_wait_ends_as_its_result_says(server, stored):
    server.take("queued", total=1)
    server.take("cancelling")
    assert server.state == "cancelled"
    server.results["j"] = stored
    server.wait(DELAYS[0] + 1)
    assert (server.state, server.told[-1]) == (stored, stored)


@pytest.mark.parametrize("stored", ["succeeded", "failed"])
def test_a_task_that_was_called_lost_ends_as_its_result_says_whenever_it_is_stored(server, stored):
    server.take("started", run=1, attempt=1)
    server.lose()
    server.wait(sum(DELAYS[:2]) + 2)
    assert server.state == "lost"
    server.results["j"] = stored
    server.wait(DELAYS[2] + 1)
    assert server.state == stored
    # It is no guess any more: nothing that was sent before changes it.
    server.take("log", run=1, seq=1, lines=[])
    assert server.state == stored


def test_a_result_that_says_the_same_is_not_told_again(server):
    server.take("queued", total=1)
    server.take("cancelling")
    server.results["j"] = "cancelled"
    server.wait(sum(DELAYS) + 10)
    assert server.told == ["queued", "cancelling", "cancelled"]


def test_a_job_is_looked_up_a_few_times_and_no_more(server):
    server.take("queued", total=1)
    server.take("cancelling")
    server.wait(sum(DELAYS) + 1000)
    assert server.asked == ["j"] * len(DELAYS)


def test_a_task_that_comes_back_is_not_looked_up_again(server):
    server.take("started", run=1, attempt=1)
    server.lose()
    server.take("log", run=1, seq=1, lines=[])
    server.wait(sum(DELAYS) + 10)
    assert (server.asked, server.state) == ([], "running")


def test_of_many_jobs_and_tasks_some_are_looked_up_at_a_time(server):
    for number in range(3 * JOBS):
        for task in range(2 * TASKS):
            server.take("queued", job=f"j{number}", task=f"t{number}-{task}", total=2 * TASKS)
        server.take("cancelling", job=f"j{number}")
    server.wait(DELAYS[0] - 1)
    assert server.asked == []
    for number in range(1, 4):
        server.wait(1)
        assert len(server.asked) == number * JOBS * TASKS


def test_a_job_that_was_forgotten_is_not_looked_up(server):
    server.take("queued", total=1)
    server.take("cancelling")
    server.journal._forget("j")
    server.wait(sum(DELAYS) + 10)
    assert server.asked == []
