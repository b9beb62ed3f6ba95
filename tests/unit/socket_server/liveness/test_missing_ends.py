"""A server finds out how tasks ended whose ends their workers had to drop."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from bridge.errors import ResultsUnavailable
from bridge.protocol.event import Event
from socket_server.concurrency.state_lock import NoLock
from socket_server.delivery.dispatcher import Dispatcher
from socket_server.journal.journal import Journal
from socket_server.liveness.missing_ends import DELAYS, JOBS, QUIET, TASKS, MissingEnds
from socket_server.liveness.verdicts import Verdicts
from socket_server.observability.metrics import Metrics
from support.clock import Clock

#: Seconds of silence after which a job is looked up.
SILENT = 1000.0


class Server:
    """The parts of a server that an audit has to do with, and a result backend."""

    def __init__(self):
        self.clock, self.results, self.asked = Clock(100.0), {}, []
        self.live, self.journal, self.metrics = (
            True,
            Journal(epoch="e", clock=self.clock),
            Metrics(),
        )
        self.dispatcher = Dispatcher(self.journal, lambda change: False, self.metrics)
        state_lock = NoLock()
        state_lock.outside = self._ask
        sio = SimpleNamespace(
            start_background_task=lambda call, *arguments: call(*arguments),
            sleep=lambda _: None,
            state_lock=state_lock,
        )
        bridge = SimpleNamespace(app=None)
        verdicts = Verdicts(self.dispatcher.tell, self.journal, bridge, state_lock)
        notices = lambda: self.metrics.ends_lost  # noqa: E731
        self.audit = MissingEnds(self.journal, verdicts, notices, sio, SILENT, self.clock)
        self.dispatcher.observers = [self.audit]

    def _ask(self, _, app, task):
        self.asked.append(task)
        if self.results is None:
            raise ResultsUnavailable("no answer")
        state = self.results.get(task)
        return state and {"state": state, "ended_at": 5.0, "error": None}

    def take(self, kind, task, job="j", run=0, seq=0, **data):
        event = Event(job=job, task=task, type=kind, at=time.time(), name="n", run=run, seq=seq)
        event.data.update(data)
        self.dispatcher.take(Event.decode(event.encode()), live=self.live)

    def tell(self, **counts):
        """Let an emitter tell what it counts."""
        counts = {"published": 1, "failures": 1, "dropped": 0, **counts}
        since = time.time() + 1
        self.take("started", "x", "x", 1, emitter={"host": "h", "pid": 1, "since": since, **counts})

    def wait(self, seconds):
        for _ in range(round(seconds)):
            self.clock.tick(1.0)
            self.audit.look()

    def state(self, job="j"):
        return self.journal.of(job).state


@pytest.fixture
def server():
    return Server()


@pytest.mark.parametrize("begun", [False, True], ids=["that waited", "that ran"])
@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_task_whose_end_was_dropped_ends_as_its_result_says(server, state, begun):
    server.take("queued", "j")
    if begun:
        server.take("started", "j", run=7)
    server.results["j"] = state
    server.wait(DELAYS[0] + 1)
    assert server.asked == []
    server.tell(dropped_ends=1)
    server.wait(DELAYS[0] + 1)
    assert server.state() == state


def test_a_server_that_reads_of_the_loss_after_its_start_asks_too(server):
    server.live = False
    server.take("queued", "j")
    server.tell(dropped_ends=3)
    server.live = True
    server.results["j"] = "succeeded"
    server.wait(DELAYS[0] + 1)
    assert server.state() == "succeeded"


def test_a_task_that_has_not_ended_goes_on_and_is_asked_for_again(server):
    server.take("queued", "j")
    server.tell(dropped_ends=1)
    server.wait(DELAYS[0] + 1)
    assert server.state() == "queued"
    server.results["j"] = "succeeded"
    server.wait(DELAYS[1])
    assert server.state() == "succeeded"


def test_an_emitter_that_drops_no_end_makes_nobody_ask(server):
    server.take("queued", "j")
    server.tell(dropped=5, dropped_pushes=3, shortened_ends=7)
    server.wait(DELAYS[1] + 1)
    assert server.asked == []


@pytest.mark.parametrize("failed", [0, 1])
def test_tasks_that_were_never_heard_of_end_by_their_numbers(server, failed):
    server.take(
        "succeeded", "t1", run=1, total=10, unreported={"succeeded": 9 - failed, "failed": failed}
    )
    assert server.state() == "running"
    server.wait(3 * QUIET)
    snapshot = server.journal.snapshot("j")
    assert snapshot["state"] == ("failed" if failed else "succeeded")
    assert (snapshot["done"], snapshot["total"]) == (10, 10)  # fmt: skip


def test_numbers_that_are_not_enough_leave_the_job_going_on(server):
    server.take("succeeded", "t1", run=1, total=10, unreported={"succeeded": 5})
    server.wait(5 * QUIET)
    assert server.state() == "running"
    server.take("succeeded", "t2", run=1, unreported={"succeeded": 3})
    server.wait(5 * QUIET)
    assert server.state() == "succeeded"


def test_known_tasks_are_looked_up_and_not_counted_twice(server):
    for number in range(8):
        server.take("queued", f"known-{number}", total=10)
        server.results[f"known-{number}"] = "succeeded"
    server.take("succeeded", "t1", run=1, total=10, unreported={"succeeded": 9})
    server.wait(5 * QUIET)
    snapshot = server.journal.snapshot("j")
    assert (snapshot["state"], snapshot["done"], snapshot["total"]) == ("succeeded", 10, 10)


def test_a_job_that_still_speaks_is_not_ended_by_numbers(server):
    server.take("succeeded", "t1", run=1, total=100, unreported={"succeeded": 99})
    for number in range(20):
        server.take("succeeded", f"n{number}", run=1)
        server.wait(QUIET - 2)
    assert server.state() == "running"
    server.wait(4 * QUIET)
    assert server.state() == "succeeded"


def test_numbers_that_no_worker_can_mean_are_refused():
    from bridge.errors import EventError

    for wrong in ({"running": 1}, {"succeeded": -1}, {"succeeded": 10**9}, [1], {"failed": "1"}):
        event = Event(job="j", task="t", type="succeeded", at=1.0, data={"unreported": wrong})
        with pytest.raises(EventError, match="unreported"):
            Event.decode(event.encode())


@pytest.mark.parametrize("kind", ["queued", "retrying"])
def test_a_task_that_seems_to_wait_ends_as_its_result_says_once_it_was_silent(server, kind):
    server.take(kind, "j", run=int(kind == "retrying"))
    server.results["j"] = "succeeded"
    server.wait(SILENT - 2)
    assert server.asked == []
    server.wait(SILENT + 3)
    assert (server.state(), server.asked) == ("succeeded", ["j"])


def test_a_job_that_waits_for_long_is_looked_up_once_in_a_while_and_goes_on_to_wait(server):
    server.take("queued", "j")
    server.wait(5 * SILENT)
    assert server.state() == "queued"
    assert 3 <= len(server.asked) <= 5


def test_of_many_silent_jobs_and_large_groups_few_tasks_are_looked_up_at_a_time(server):
    for job in range(20):
        for task in range(50):
            server.take("queued", f"{job}.{task}", f"job {job}")
    server.wait(SILENT - 5)
    for _ in range(15):
        before = len(server.asked)
        server.wait(1)
        assert len(server.asked) - before <= JOBS * TASKS
    assert len({task.split(".")[0] for task in server.asked}) == 20


def test_a_result_backend_that_does_not_answer_is_asked_once_a_round(server):
    for job in "abc":
        server.take("queued", job, job)
    server.results = None
    server.wait(SILENT + 10)
    assert len(server.asked) == 1


def test_a_job_that_a_server_speaks_of_itself_is_silent_all_the_same():
    server = Server()
    server.take("queued", "j", total=1)
    for _ in range(round(SILENT) // 5 + 5):
        server.wait(5)
        server.dispatcher.tell(estimate("j"))
    server.results["j"] = "succeeded"
    for _ in range(round(SILENT) // 5 + 5):
        server.wait(5)
        server.dispatcher.tell(estimate("j"))
    assert server.state() == "succeeded"


def estimate(job):
    eta = {"low": time.time(), "high": time.time() + 5}
    return Event(job=job, task=job, type="estimate", at=time.time(), data={"eta": eta})


def test_a_task_that_follows_another_and_was_never_heard_of_ends_by_its_result():
    server = Server()
    server.take("queued", "j", total=3, followers=["second", "third", 4, ""])
    server.take("succeeded", "j", run=7, result=1)
    server.results.update(second="succeeded", third="succeeded")
    server.wait(3 * SILENT)
    assert server.state() == "succeeded"
    snapshot = server.journal.snapshot("j")
    assert (snapshot["done"], snapshot["total"]) == (3, 3)
    assert {task["task"] for task in snapshot["tasks"]} == {"j", "second", "third"}
    # What it says itself, later, is known already.
    server.take("succeeded", "third", run=9, result=3)
    assert server.journal.snapshot("j")["done"] == 3


def test_a_follower_that_runs_is_left_alone():
    server = Server()
    server.take("queued", "j", total=2, followers=["second"])
    server.take("succeeded", "j", run=7)
    server.take("started", "second", run=8)
    server.wait(3 * SILENT)
    assert server.state() == "running"
    assert "second" not in server.asked
