"""What a server tells its clients beyond what workers say."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from bridge.errors import ResultsUnavailable
from bridge.protocol.event import Event
from socket_server.concurrency.state_lock import NoLock
from socket_server.delivery.dispatcher import Dispatcher
from socket_server.delivery.fan_out import FanOut
from socket_server.estimates.durations import ENOUGH, Durations
from socket_server.estimates.estimates import Estimates
from socket_server.estimates.observer import EstimatesObserver
from socket_server.estimates.queue_depth import (
    KNOWN_AT_ONCE,
    MAX_QUEUES,
    OTHERS_AT_ONCE,
    QueueDepth,
    WaitingJobs,
)
from socket_server.journal.journal import Journal
from socket_server.liveness.disturbances import Disturbances
from socket_server.liveness.observer import CancelSweep, LivenessObserver
from socket_server.liveness.verdicts import Verdicts
from socket_server.liveness.watchdog import Silence, Watchdog
from socket_server.observability.metrics import Metrics

RUN = 1000


class Manager:
    """Records what is sent to clients."""

    def __init__(self):
        self.watched, self.sent = True, []

    def deliver_job(self, change, rooms, latest=None):
        self.sent.append((change["type"], change["data"]))
        return self.watched

    def is_watched(self, job, owner):
        return self.watched


class Asking(NoLock):
    """Answers in the place of the result backend."""

    def __init__(self, server):
        super().__init__()
        self._server = server

    def outside(self, call, *arguments):
        self._server.meanwhile()
        return self._server.stored


class Server:
    """All of a server but its sockets and its broker."""

    def __init__(self):
        self.manager, self.journal = Manager(), Journal(epoch="e")
        self.watchdog = Watchdog(stalled_after=15, lost_after=60, clock=lambda: 0.0)
        self.history, self.lines, self.levels = Durations(), WaitingJobs(), {}
        self.metrics = Metrics()
        self.dispatcher = Dispatcher(self.journal, FanOut(self.manager), self.metrics)
        disturbances = Disturbances(self.dispatcher.tell, self.journal, self.watchdog, None)
        self.dispatcher.observers = [LivenessObserver(self.watchdog, disturbances)]
        self.dispatcher.state_observers = [
            CancelSweep(self.journal),
            EstimatesObserver(self.lines, self.history),
        ]
        self.journal.on_forget = self.lines.leave
        gauge = SimpleNamespace(read=lambda queues: self.levels, empty=None)
        self.state_lock = NoLock()
        self.estimates = Estimates(
            self.dispatcher.tell,
            self.journal,
            self.manager.is_watched,
            self.lines,
            self.history,
            gauge,
            self.state_lock,
        )
        self.stored = None
        self.meanwhile = lambda: None
        parts = self.dispatcher.tell, self.journal, SimpleNamespace(app=None)
        self.verdicts = Verdicts(*parts, Asking(self))

    def take(self, kind, run=RUN, seq=0, job="j", task=None, name="n", at=None, tick=0, **data):
        event = Event(
            job=job,
            task=task or job,
            type=kind,
            run=run,
            seq=seq,
            tick=tick,
            at=at or time.time(),
            owner="o",
            name=name,
            data=data,
        )
        self.dispatcher.take(event)

    @property
    def types(self):
        return [kind for kind, _ in self.manager.sent]

    @property
    def snapshot(self):
        return self.journal.snapshot("j")


@pytest.fixture
def server():
    return Server()


def test_a_queued_job_that_is_cancelled_is_over_at_once(server):
    server.take("queued", run=0, total=1)
    server.take("cancelling", run=0)
    assert server.types == ["queued", "cancelling", "cancelled"]
    assert server.snapshot["state"] == "cancelled"


def test_a_job_that_had_begun_all_the_same_is_over_when_it_says_so(server):
    server.take("queued", run=0, total=1)
    server.take("cancelling", run=0)
    server.take("started", attempt=1)
    assert server.snapshot["state"] == "cancelling"
    server.take("cancelled", seq=1)
    assert server.snapshot["state"] == "cancelled"


def test_a_running_job_that_is_cancelled_goes_on_until_it_ends(server):
    server.take("started", attempt=1)
    server.take("cancelling", run=0)
    assert server.snapshot["state"] == "cancelling"


def test_what_follows_in_a_cancelled_chain_is_over_as_soon_as_it_is_there(server):
    server.take("started", attempt=1, total=2)
    server.take("cancelling", run=0)
    server.take("queued", run=0, task="next")
    server.take("succeeded", seq=1)
    assert server.snapshot["state"] == "cancelled"


def test_a_silent_task_is_stalled_and_then_lost_and_comes_back(server):
    server.take("started", attempt=1)
    server.verdicts.judge(Silence("j", "j", 15.2, lost=False))
    assert (server.snapshot["state"], server.snapshot["stalled"]) == ("running", True)
    server.verdicts.judge(Silence("j", "j", 60.2, lost=True))
    assert server.snapshot["state"] == "lost"
    assert "60 s" in server.snapshot["reason"]
    server.take("log", seq=1, lines=[])
    assert (server.snapshot["state"], server.snapshot["stalled"]) == ("running", False)
    assert not server.snapshot["incomplete"]


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({"state": "succeeded", "result": 7, "ended_at": 5.0}, {"result": 7}),
        ({"state": "failed", "error": {"class": "E", "message": "m"}, "ended_at": None}, {}),
    ],
)
def test_a_silent_task_whose_result_is_stored_ended_as_that_says(server, stored, told):
    server.take("started", attempt=1)
    server.stored = stored
    server.verdicts.judge(Silence("j", "j", 15.2, lost=False))
    assert server.snapshot["state"] == stored["state"]
    assert told.items() <= server.snapshot.items()
    # It is no guess: what comes late of that run changes nothing.
    server.take("log", seq=1, lines=[])
    assert server.snapshot["state"] == stored["state"]


def test_a_stored_state_that_is_no_end_is_none(server):
    server.take("started", attempt=1)
    server.stored = {"state": "running", "ended_at": None}
    server.verdicts.judge(Silence("j", "j", 15.2, lost=False))
    assert server.snapshot["stalled"]


def test_a_task_that_speaks_while_its_result_is_asked_for_is_not_judged(server):
    server.take("started", attempt=1)
    server.meanwhile = lambda: server.take("log", seq=1, lines=[])
    server.verdicts.judge(Silence("j", "j", 60.2, lost=True))
    assert server.types == ["started", "log"]


def test_a_job_that_is_forgotten_or_over_is_not_judged(server):
    server.verdicts.judge(Silence("unknown", "unknown", 60.2, lost=True))
    server.take("succeeded")
    server.verdicts.judge(Silence("j", "j", 60.2, lost=True))
    assert server.types == ["succeeded"]


def test_a_result_backend_that_fails_or_hangs_is_no_reason_to_be_silent(server):
    server.take("started", attempt=1)

    def fail():
        raise ResultsUnavailable("away")

    server.meanwhile = fail
    server.verdicts.judge(Silence("j", "j", 15.2, lost=False))
    assert server.snapshot["stalled"]


def test_who_comes_later_is_told_a_verdict_that_stands_and_none_that_does_not(server):
    server.take("started", attempt=1)
    server.verdicts.judge(Silence("j", "j", 60.2, lost=True))
    cursor = server.journal.view("j").cursor
    again = server.journal.view("j", cursor)
    assert [(one["type"], again.recovered) for one in again.events] == [("lost", True)]
    server.take("log", seq=1, lines=[])
    assert [one["type"] for one in server.journal.view("j", cursor).events] == ["log"]


@pytest.mark.parametrize("skew", [-3600, 0, 3600])
def test_when_a_task_expires_is_told_from_now_on_and_not_by_the_clock_of_its_service(server, skew):
    now = time.time()
    server.take("queued", run=0, total=1, at=now + skew, expires_at=now + skew + 50)
    assert server.watchdog.expired(now + 45) == []
    assert server.watchdog.expired(now + 60) == [("j", "j")]


def test_a_task_that_expired_in_its_queue_is_cancelled(server):
    server.take("queued", run=0, total=1, at=1.0, expires_at=5.0)
    [expired] = server.watchdog.expired(time.time() + 100.0)
    server.verdicts.expire(*expired)
    assert (server.snapshot["state"], server.types) == ("cancelled", ["queued", "cancelled"])
    assert "expired" in server.snapshot["reason"]


def test_a_job_that_waits_is_told_its_place_when_that_changes_and_somebody_watches(server):
    server.take("queued", run=0, total=1, queue="q")
    server.levels = {"q": QueueDepth(3, True)}
    server.manager.watched = False
    server.estimates.tell()
    assert server.types == ["queued"]
    server.manager.watched = True
    server.estimates.tell()
    server.estimates.tell()
    assert server.types == ["queued", "estimate"]
    assert server.snapshot["queue"] == {"name": "q", "ahead": 2, "workers": True}
    server.levels = {"q": QueueDepth(0, True)}
    server.estimates.tell()
    assert server.snapshot["queue"] == {"name": "q", "ahead": 0, "workers": True}
    server.estimates.tell()
    server.estimates.tell()
    assert server.snapshot["queue"]["taken"]
    assert server.types.count("estimate") == 3
    server.take("started", attempt=1)
    assert server.snapshot["queue"] is None
    assert len(server.lines) == 0


def test_a_queue_that_a_broker_has_only_while_it_holds_messages_is_empty_otherwise(server):
    server.take("queued", run=0, total=1, queue="q")
    server.levels = {"q": None}
    server.estimates.tell()
    assert server.snapshot["queue"] is None
    server.estimates._gauge.empty = QueueDepth(0, None)
    server.estimates.tell()
    assert server.snapshot["queue"] == {"name": "q", "ahead": 0, "workers": None}


def test_a_job_is_expected_to_take_as_long_as_those_before_it(server):
    now = time.time()
    for number in range(ENOUGH):
        server.take("queued", run=0, job=f"b{number}", at=now - 20)
        server.take("started", job=f"b{number}", at=now - 10)
        server.take("succeeded", seq=1, job=f"b{number}", at=now)
    server.take("failed", job="no example")
    server.take("queued", run=0, at=now)
    server.take("started", at=now, attempt=1)
    assert server.snapshot["eta"]["jobs"] == ENOUGH
    assert server.snapshot["eta"]["latest"] == pytest.approx(now + 10, abs=0.2)
    server.take("succeeded", seq=1)
    assert server.snapshot["eta"] is None


def test_ten_thousand_names_of_queues_hold_up_nobody_and_are_forgotten_with_their_jobs(server):
    asked = []

    def read(queues):
        asked.append(queues)
        return {name: QueueDepth(3, True) if name == "real" else None for name in queues}

    server.estimates._gauge.read = read
    for number in range(12_000):
        server.take("queued", run=0, job=f"job {number}", total=1, queue=f"made up {number}")
    server.take("queued", run=0, total=1, queue="real")
    for _ in range(3):
        server.estimates.tell()
        assert "real" in asked[-1]
    assert server.snapshot["queue"] == {"name": "real", "ahead": 2, "workers": True}
    assert max(map(len, asked)) <= KNOWN_AT_ONCE + OTHERS_AT_ONCE
    assert len(server.lines) <= MAX_QUEUES
    for job in [one.job for one in server.journal.snapshots()]:
        server.journal._forget(job)
    assert (len(server.lines), server.lines.queues()) == (0, [])


def test_the_figure_of_a_queue_that_was_not_looked_at_stays(server):
    for queue in ("a", "b"):
        server.take("queued", run=0, job=queue, total=1, queue=queue)
    server.levels = {"a": QueueDepth(3, True), "b": QueueDepth(4, True)}
    server.estimates.tell()
    server.levels = {"a": QueueDepth(2, True)}
    server.estimates.tell()
    assert server.estimates.levels == {"a": 2, "b": 4}
    server.take("started", job="b", attempt=1)
    server.estimates.tell()
    assert server.estimates.levels == {"a": 2, "b": 0}


def test_a_job_is_counted_once_when_its_tasks_go_on_to_end_after_it(server):
    server.take("queued", run=0, total=3)
    for task in ("a", "b"):
        server.take("started", task=task, attempt=1)
    server.take("failed", task="a", seq=1)
    server.take("failed", task="b", seq=1)
    count = server.metrics.registry.get_sample_value
    assert count("taskbridge_jobs_ended_total", {"task": "n", "state": "failed"}) == 1


def test_talk_goes_to_the_observers_of_all_changes_alone(server):
    heard, states = [], []
    for observers, kinds in (
        (server.dispatcher.observers, heard),
        (server.dispatcher.state_observers, states),
    ):
        observers.append(lambda change, kinds=kinds: kinds.append(change.event.type) or ())
    server.take("started", attempt=1)
    for seq, kind in enumerate(("log", "output", "progress"), 1):
        server.take(kind, seq=min(seq, 2), tick=seq // 3)
    server.take("succeeded", seq=3)
    assert heard == ["started", "log", "output", "progress", "succeeded"]
    assert states == ["started", "succeeded"]
