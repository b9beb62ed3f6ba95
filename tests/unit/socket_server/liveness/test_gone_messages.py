"""A waiting task is lost once its message was nowhere twice, and no end of it is stored."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from bridge.errors import ResultsUnavailable
from bridge.protocol.event import Event
from socket_server.concurrency.state_lock import NoLock
from socket_server.delivery.dispatcher import Dispatcher
from socket_server.journal.journal import Journal
from socket_server.liveness.gone_messages import PART, QUEUES, GoneMessages
from socket_server.liveness.verdicts import NOWHERE, Verdicts
from socket_server.liveness.worker_inspection import MAX_TASKS
from socket_server.observability.metrics import Metrics
from support.clock import Clock

LOST = 60


class Server:
    """The parts of a server around the search; a broker, and a result backend, that a test sets."""

    def __init__(self):
        self.clock, self.results, self.is_open = Clock(100.0), {}, True
        self.gone, self.searches, self.meanwhile = set(), [], lambda: None
        self.journal, state_lock = Journal(epoch="e", clock=self.clock), NoLock()
        state_lock.outside = self._ask
        sio = SimpleNamespace(
            start_background_task=lambda call, *arguments: call(*arguments),
            sleep=lambda _: None,
            state_lock=state_lock,
        )
        self.dispatcher = Dispatcher(self.journal, lambda change: False, Metrics())
        bridge = SimpleNamespace(app=None)
        verdicts = Verdicts(self.dispatcher.tell, self.journal, bridge, state_lock)
        self.search = GoneMessages(self, verdicts, self, sio, LOST, self.clock)
        self.dispatcher.state_observers = [self.search]

    def _ask(self, _, app, task):
        if self.results is None:
            raise ResultsUnavailable("no answer")
        state = self.results.get(task)
        return state and {"state": state, "ended_at": 5.0, "error": None}

    def without_message(self, tasks):
        self.searches.append(dict(tasks))
        self.meanwhile()
        return self.gone & set(tasks)

    def take(self, kind, task="j", run=0, seq=0, job="j", **data):
        event = Event(job=job, task=task, type=kind, at=time.time(), name="n", run=run, seq=seq)
        event.data.update(data)
        self.dispatcher.take(Event.decode(event.encode()), live=True)

    def wait(self, seconds):
        for _ in range(seconds):
            self.clock.tick(1.0)
            self.search.look()
        return self.journal.of("j").state


@pytest.fixture
def server():
    server = Server()
    server.gone = {"j", "second"}
    return server


def test_a_task_is_lost_when_its_message_was_nowhere_twice(server):
    server.take("queued", queue="celery")
    assert server.wait(LOST - 1) == "queued"
    assert server.searches == []
    assert server.wait(LOST) == "queued"
    assert server.wait(1) == "lost"
    assert server.searches == [{"j": "celery"}] * 2
    snapshot = server.journal.snapshot("j")
    assert snapshot["reason"] == NOWHERE
    assert snapshot["tasks"][0]["presumed"]
    server.take("started", run=7)
    assert server.wait(5 * LOST) == "running"
    assert len(server.searches) == 2


def test_a_retry_is_lost_too_and_one_without_a_known_queue_is_not(server):
    server.take("started", run=7, queue="celery")
    server.take("retrying", run=7, seq=1)
    assert server.wait(3 * LOST) == "retrying"
    assert server.searches == []
    server.take("retrying", run=8, queue="other")
    assert server.wait(3 * LOST) == "lost"


def test_a_message_that_was_found_in_between_has_to_be_nowhere_twice_again(server):
    server.take("queued", queue="celery")
    server.wait(LOST)
    server.gone = set()
    server.wait(LOST)
    server.gone = {"j"}
    assert server.wait(LOST) == "queued"
    assert server.wait(LOST) == "lost"


@pytest.mark.parametrize("closed", [LOST, 2 * LOST])
def test_nothing_is_concluded_while_events_cannot_arrive(server, closed):
    def close():
        server.is_open = server.clock.now < 100 + closed

    server.take("queued", queue="celery")
    server.meanwhile = close
    assert server.wait(5 * LOST) == "queued"
    searches = len(server.searches)
    server.is_open, server.meanwhile = True, lambda: None
    server.wait(1)
    assert len(server.searches) == searches + 1


def test_a_task_whose_end_is_stored_ends_so(server):
    server.take("queued", queue="celery")
    server.results["j"] = "succeeded"
    assert server.wait(2 * LOST) == "succeeded"


def test_no_task_is_lost_while_the_result_backend_does_not_answer(server):
    server.take("queued", queue="celery")
    server.results = None
    assert server.wait(4 * LOST) == "queued"
    server.results = {}
    assert server.wait(LOST) == "lost"


@pytest.mark.parametrize("kind", ["started", "succeeded"])
def test_an_event_that_arrives_during_the_search_counts(server, kind):
    server.take("queued", queue="celery")
    server.wait(2 * LOST - 1)
    server.meanwhile = lambda: server.take(kind, run=7)
    assert server.wait(1) != "lost"


def test_only_the_tasks_of_a_group_that_are_nowhere_are_lost(server):
    server.take("queued", queue="celery", total=3)
    server.take("queued", "second", queue="celery")
    server.take("queued", "third", queue="celery")
    server.wait(2 * LOST)
    states = {task["task"]: task["state"] for task in server.journal.snapshot("j")["tasks"]}
    assert states == {"j": "lost", "second": "lost", "third": "queued"}


def test_a_cancelled_job_is_not_looked_for(server):
    server.take("queued", queue="celery")
    server.dispatcher.tell(server.journal.of("j").sweep(time.time(), "cancelled"))
    server.wait(3 * LOST)
    assert len(server.searches) == 1


def test_many_tasks_and_queues_take_few_searches(server):
    server.take("queued")
    for number in range(2 * MAX_TASKS):
        server.take("queued", f"t{number}", queue="celery")
    for number in range(2 * QUEUES):
        server.take("queued", f"q{number}", queue=f"queue {number}")
    server.wait(LOST + round(5 * PART * LOST))
    assert len(server.searches) <= 6
    assert all(len(tasks) <= MAX_TASKS for tasks in server.searches)
    assert all(len(set(tasks.values())) <= QUEUES for tasks in server.searches)
    assert len({task for tasks in server.searches for task in tasks}) == 2 * MAX_TASKS + 2 * QUEUES
