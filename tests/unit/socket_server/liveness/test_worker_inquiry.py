"""Before a silent task is called lost its worker is asked; clients are told what that finds."""

from __future__ import annotations

import pytest

from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.concurrency.state_lock import NoLock
from socket_server.journal.journal import Journal
from socket_server.liveness.disturbances import Disturbances
from socket_server.liveness.event_path import EventPath
from socket_server.liveness.watchdog import Silence, Watchdog
from socket_server.liveness.worker_inquiry import WorkerInquiry
from socket_server.liveness.worker_inspection import MAX_TASKS
from support.clock import Clock


class Sio:
    """Runs background tasks in turn, once they are asked for."""

    def __init__(self):
        self.state_lock, self.tasks = NoLock(), []

    def start_background_task(self, call, *arguments):
        self.tasks.append((call, arguments))

    def run(self):
        while self.tasks:
            call, arguments = self.tasks.pop(0)
            call(*arguments)

    def sleep(self, seconds):
        pass


class Delivery:
    """Folds what clients are told into the journal, as a server does."""

    def __init__(self, journal):
        self.journal, self.told = journal, []

    def tell(self, event):
        if self.journal.fold(event) is not None:
            self.told.append((event.job, event.data.get("disturbed")))


class Server:
    """The parts around an inquiry; workers answer as a test says."""

    def __init__(self, answers=None):
        self.sio, self.journal, self.clock = Sio(), Journal(), Clock(0.0)
        self.watchdog = Watchdog(stalled_after=15, lost_after=60, clock=self.clock)
        self.path = EventPath(15, self.clock)
        self.delivery = Delivery(self.journal)
        self.disturbances = Disturbances(self.delivery.tell, self.journal, self.watchdog, self.sio)
        self.answers, self.asked, self.judged, self.awaited = answers, [], [], []
        self.inquiry = WorkerInquiry(
            self, self, self.watchdog, self.disturbances, self, self.path, self.sio
        )
        for count in (1, 2):
            self.path.look(count, listening=True)

    def run(self, job, task=None):
        place = {"run": 1, "seq": 0, "at": 1.0}
        self.journal.fold(Event(job=job, task=task or job, type="started", **place))
        self.watchdog.heard(job, task or job)

    def ask(self, tasks):
        self.asked.append(dict(tasks))
        return dict.fromkeys(tasks, self.answers)

    def within(self, job, task):
        return 7.0

    def wait_for(self, job, task):
        self.awaited.append(task)

    def judge(self, silence, within):
        assert within == 7.0
        self.judged.append((silence.task, silence.lost))
        return silence.lost


def lost(job):
    return Silence(job, job, 60.0, True, "celery@a")


@pytest.mark.parametrize(("there", "called_lost"), [(False, True), (True, False), (None, False)])
def test_only_a_task_whose_worker_is_not_there_is_called_lost(there, called_lost):
    server = Server(there)
    server.run("j")
    server.watchdog.over("j", "j")
    server.inquiry.add([lost("j")])
    server.sio.run()
    assert server.asked == [{"j": "celery@a"}]
    assert server.judged == [("j", called_lost)]
    assert server.awaited == ["j"] * called_lost
    assert server.delivery.told == ([] if called_lost else [("j", True)])
    assert len(server.watchdog) == len(server.disturbances) == (0 if called_lost else 1)


def test_a_task_from_which_an_event_came_meanwhile_is_left_to_its_own_events():
    server = Server(False)
    server.run("j")
    server.watchdog.over("j", "j")
    server.inquiry.add([lost("j")])
    server.watchdog.heard("j", "j")
    server.sio.run()
    assert server.judged == []
    assert len(server.watchdog) == 1


def test_nothing_is_called_lost_while_nothing_can_be_heard():
    server = Server(False)
    server.run("j")
    server.watchdog.over("j", "j")
    server.path.disturbed = True
    server.inquiry.add([lost("j")])
    server.sio.run()
    assert server.judged == [("j", False)]
    assert len(server.watchdog) == 1


def test_many_are_asked_about_at_a_time_one_question_after_the_other():
    server = Server(False)
    jobs = [str(number) for number in range(2 * MAX_TASKS + 1)]
    for job in jobs:
        server.run(job)
        server.watchdog.over(job, job)
    server.inquiry.add(map(lost, jobs[:5]))
    server.inquiry.add(map(lost, jobs))
    server.sio.run()
    assert [len(asked) for asked in server.asked] == [MAX_TASKS, MAX_TASKS, 1]
    assert len(server.judged) == len(jobs)


def test_clients_are_told_once_that_nothing_comes_and_once_that_it_does():
    server = Server()
    for job in ("a", "b"):
        server.run(job)
    for disturbed in (True, True, False, False):
        server.disturbances.tell_all(disturbed=disturbed)
    assert sorted(server.delivery.told) == [("a", False), ("a", True), ("b", False), ("b", True)]
    assert server.journal.of("a").disturbed is None


def test_a_job_that_was_told_is_told_of_the_end_whatever_became_of_its_task():
    server = Server()
    server.run("a")
    server.disturbances.tell_all(disturbed=True)
    server.watchdog.over("a", "a")
    server.disturbances.tell_all(disturbed=False)
    assert server.delivery.told == [("a", True), ("a", False)]


def test_a_job_is_in_touch_once_all_of_its_tasks_are_heard():
    server = Server()
    for task in ("a", "b"):
        server.run("j", task)
        server.disturbances.note("j", task)
    server.disturbances.over("j", "a")
    assert server.delivery.told == [("j", True)]
    server.disturbances.over("j", "b")
    server.disturbances.over("j", "b")
    assert server.delivery.told == [("j", True), ("j", False)]


def test_a_job_that_is_over_is_not_disturbed():
    server = Server()
    server.run("j")
    server.disturbances.note("j", "j")
    end = Event(job="j", task="j", type="succeeded", run=1, seq=1, at=2.0)
    server.journal.fold(end)
    assert server.journal.of("j").encode()["disturbed"] is None
    assert server.journal.of("j").disturbance(3.0, "why") is None


def test_a_client_goes_on_from_a_snapshot_of_a_server_that_does_not_know_of_it():
    snapshot = Snapshot("j")
    snapshot.apply(Event(job="j", task="j", type="started", run=1, seq=0, at=1.0))
    old = snapshot.encode()
    del old["disturbed"]
    assert Snapshot.decode(old).disturbed is None
    told = Snapshot("j")
    told.apply(Event(job="j", task="j", type="started", run=1, seq=0, at=1.0))
    told.apply(told.disturbance(2.0, "why"))
    assert Snapshot.decode(told.encode()).disturbed == "why"


def test_a_client_that_does_not_know_of_it_takes_it_for_what_it_has_seen():
    snapshot = Snapshot("j")
    begun = Event(job="j", task="t", type="started", run=7, seq=2, at=1.0)
    snapshot.apply(begun)
    event = snapshot.disturbance(2.0, "why")
    assert (event.task, event.order) == ("t", begun.order)
    assert event.verdict
