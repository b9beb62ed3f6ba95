"""A running task's progress as its info: once a second, and never over what was stored last."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from celery import Celery, states

from bridge import periodic_thread
from bridge.instrumentation import result_progress
from bridge.instrumentation.result_progress import STATE, Record, info, track, untrack
from bridge.periodic_thread import PeriodicThread
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import Run
from support.wait import until


class Backend:
    """A result backend that keeps all that is stored, and can be slow or away."""

    def __init__(self):
        self.stored = []
        self.away = False
        self.slow = None
        self.writing = threading.Event()

    def store_result(self, task_id, result, state, traceback=None, request=None, **options):
        if self.slow is not None and state == STATE:
            self.writing.set()
            assert self.slow.wait(10)
        if self.away:
            raise OSError("connection refused")
        self.stored.append((task_id, state, result))
        return result

    @property
    def states(self):
        return [state for _, state, _ in self.stored]


class Bar:
    """A bar of a run, moved by hand."""

    def __init__(self, run, **fields):
        self.fields = fields
        run.show(None, Meter(lambda: Reading(**self.fields)))


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Keep what a test does from other tests; nothing is stored unless it says so."""
    monkeypatch.setattr(result_progress, "_records", {})
    alone = PeriodicThread("test", result_progress._ticker._complaint)
    alone._thread = (os.getpid(), None)
    monkeypatch.setattr(result_progress, "_ticker", alone)


@pytest.fixture
def backend():
    return Backend()


def new_task(backend, **options):
    request = SimpleNamespace(ignore_result=False)
    return SimpleNamespace(
        **{"backend": backend, "request": request, "ignore_result": False} | options
    )


def new_run(task="t"):
    return Run(job="j", task=task, name="n")


def running(backend, n=1, task="t"):
    """Return a run that is tracked, with a bar."""
    run = new_run(task)
    track(run, new_task(backend))
    return run, Bar(run, n=n, total=4, desc="rows")


def store(task="t"):
    """Do what the thread does once a second."""
    result_progress._ticker._call(result_progress._records[task].store)


def test_the_info_has_the_keys_that_celery_progress_reads():
    run = new_run()
    Bar(run, n=1, total=3, desc="rows: ")
    assert info(run) == {
        "pending": False,
        "current": 1,
        "total": 3,
        "percent": 33.33,
        "description": "rows",
    }


def test_a_run_without_a_bar_has_no_info():
    assert info(new_run()) is None


@pytest.mark.parametrize(
    ("n", "total", "percent"),
    [(0, 4, 0), (4, 4, 100), (9, 4, 100), (-1, 4, 0), (5, None, 0), (5, 0, 0), (5, -4, 0)],
)
def test_the_percentage_is_one_whatever_the_bar_counts(n, total, percent):
    run = new_run()
    Bar(run, n=n, total=total)
    assert info(run)["percent"] == percent
    assert (info(run)["current"], info(run)["total"]) == (n, total)


def test_the_first_bar_is_the_one_that_is_stored():
    run = new_run()
    Bar(run, n=1, desc="outer")
    Bar(run, n=2, desc="inner")
    assert info(run)["description"] == "outer"


def test_progress_is_stored_when_it_has_changed(backend):
    _, bar = running(backend)
    store()
    store()
    bar.fields["n"] = 2
    store()
    assert [(task, state, told["current"]) for task, state, told in backend.stored] == [
        ("t", STATE, 1),
        ("t", STATE, 2),
    ]


def test_nothing_is_stored_before_there_is_a_bar(backend):
    track(new_run(), new_task(backend))
    store()
    assert backend.stored == []


@pytest.mark.parametrize(
    ("own", "requested"), [(False, True), (True, True), (True, None), (None, True), (True, False)]
)
def test_a_task_whose_result_is_ignored_is_left_alone(backend, own, requested):
    request = SimpleNamespace(ignore_result=requested)
    track(new_run(), new_task(backend, request=request, ignore_result=own))
    assert result_progress._records == {}
    assert backend.store_result("t", 1, states.SUCCESS) == 1


@pytest.mark.parametrize("final", sorted(result_progress.FINAL))
def test_nothing_is_stored_after_the_final_state(backend, final):
    _, bar = running(backend)
    store()
    assert backend.store_result("t", "result", final, request=None) == "result"
    bar.fields["n"] = 3
    store()
    assert backend.states == [STATE, final]


def test_nothing_is_stored_once_the_task_has_ended(backend):
    running(backend)
    record = result_progress._records["t"]
    untrack("t")
    untrack("t")
    result_progress._ticker._call(record.store)
    assert (backend.stored, result_progress._records) == ([], {})


def test_that_a_task_has_started_is_no_news_to_its_progress(backend):
    running(backend)
    backend.store_result("t", {}, states.STARTED)
    store()
    assert backend.states == [states.STARTED, STATE]


@pytest.mark.parametrize("state", [STATE, "CRUNCHING", states.PENDING])
def test_a_task_that_updates_its_state_itself_wins(backend, state):
    _, bar = running(backend)
    store()
    backend.store_result("t", {"own": 1}, state)
    bar.fields["n"] = 3
    store()
    backend.store_result("t", "result", states.SUCCESS)
    assert backend.states == [STATE, state, states.SUCCESS]
    assert backend.stored[1][2] == {"own": 1}


def test_what_another_task_stores_changes_nothing(backend):
    running(backend)
    backend.store_result("other", "result", states.SUCCESS)
    store()
    assert backend.states == [states.SUCCESS, STATE]


def test_the_final_state_comes_after_a_write_that_is_under_way(backend, monkeypatch):
    monkeypatch.setattr(result_progress, "PATIENCE", 10)
    backend.slow = threading.Event()
    running(backend)
    record = result_progress._records["t"]
    entered = threading.Event()

    class Noticed:
        """The lock of the record; tells when the final state waits for it."""

        lock = record.writing
        __enter__ = lock.__enter__
        __exit__ = lock.__exit__
        release = lock.release

        def acquire(self, timeout):
            entered.set()
            return self.lock.acquire(timeout=timeout)

    record.writing = Noticed()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(store)
        assert backend.writing.wait(10)
        final = pool.submit(backend.store_result, "t", "result", states.SUCCESS)
        assert entered.wait(10)
        assert backend.stored == []
        backend.slow.set()
        assert final.result(10) == "result"
    assert backend.states == [STATE, states.SUCCESS]


def test_a_write_that_takes_too_long_is_followed_by_the_final_state_once_more(backend, monkeypatch):
    monkeypatch.setattr(result_progress, "PATIENCE", 0.001)
    backend.slow = threading.Event()
    running(backend)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(store)
        assert backend.writing.wait(10)
        backend.store_result("t", "result", states.SUCCESS)
        assert backend.states == [states.SUCCESS]
        untrack("t")
        backend.slow.set()
        writing.result(10)
    assert backend.states == [states.SUCCESS, STATE, states.SUCCESS]
    assert backend.stored[-1] == ("t", states.SUCCESS, "result")


def test_a_backend_that_raises_is_warned_of_once_and_the_job_goes_on(backend, caplog):
    running(backend)
    running(backend, task="other")
    backend.away = True
    for _ in range(3):
        store()
        store("other")
    assert [record.getMessage() for record in caplog.records] == [
        "taskbridge: progress cannot be stored as a task's info: connection refused"
    ]
    assert caplog.records[0].levelno == logging.WARNING
    backend.away = False
    store()
    assert [told["current"] for _, _, told in backend.stored] == [1]


def test_a_backend_that_fails_again_later_is_warned_of_again(backend, caplog):
    _, bar = running(backend)
    for away in (True, False, True):
        backend.away = away
        bar.fields["n"] += 1
        store()
    assert len(caplog.records) == 2


def test_what_the_task_stores_while_the_backend_is_away_fails_as_before(backend):
    running(backend)
    backend.away = True
    with pytest.raises(OSError, match="connection refused"):
        backend.store_result("t", "result", states.SUCCESS)


def test_a_backend_is_guarded_once_however_many_tasks_use_it(backend):
    running(backend)
    guarded = backend.store_result
    running(backend, task="other")
    assert backend.store_result is guarded
    backend.store_result("t", "result", states.SUCCESS)
    store("other")
    assert backend.states == [states.SUCCESS, STATE]


class Stop(Exception):
    """Ends the thread's loop."""


def test_between_two_writes_of_a_task_lies_a_second(backend, monkeypatch):
    _, bar = running(backend)
    story = []

    class Pause:
        def wait(self, seconds):
            story.append(seconds)
            bar.fields["n"] += 1
            if len(story) > 6:
                raise Stop

    stored = backend.stored.append
    backend.stored = SimpleNamespace(append=lambda entry: (story.append("stored"), stored(entry)))
    monkeypatch.setattr(periodic_thread, "threading", SimpleNamespace(Event=Pause))
    with pytest.raises(Stop):
        result_progress._ticker._loop(threading.Event())
    assert story == [1.0, "stored", 1.0, "stored", 1.0, "stored", 1.0]


def test_the_thread_stores_by_itself_and_sleeps_while_nothing_runs(backend, monkeypatch):
    monkeypatch.setattr(result_progress._ticker, "_wakes", {})
    monkeypatch.setattr(periodic_thread, "INTERVAL", 0.001)
    for number in range(3):  # it begins with the first task, and goes on with the next
        _, bar = running(backend, n=number, task=f"t{number}")
        until(lambda: backend.stored, 5, "the first write", interval=0.001)
        bar.fields["n"] = 4
        until(lambda: backend.stored[-1][2]["percent"] == 100, 5, "the next", interval=0.001)
        untrack(f"t{number}")
        backend.stored.clear()
    name = result_progress._ticker._name
    assert {one.daemon for one in threading.enumerate() if one.name == name} == {True}


def test_a_forked_process_stores_with_a_thread_of_its_own(backend, monkeypatch):
    started = []
    thread = SimpleNamespace(start=lambda: started.append(os.getpid()))
    monkeypatch.setattr(result_progress._ticker, "_wakes", {})
    monkeypatch.setattr(periodic_thread.threading, "Thread", lambda **_: thread)
    for pid in (1, 1, 2):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        track(new_run(), new_task(backend))
    assert started == [1, 2]


def test_with_celery_itself_the_info_is_seen_until_the_result_is_there():
    app = Celery("test", backend="cache+memory://")

    @app.task(bind=True)
    def work(self):
        """Do nothing."""

    work.push_request(id="c", ignore_result=False)
    try:
        run = new_run("c")
        Bar(run, n=1, total=4, desc="rows")
        track(run, work)
        result_progress._ticker._call(result_progress._records["c"].store)
        result = app.AsyncResult("c")
        assert (result.state, result.info) == (STATE, info(run))
        app.backend.mark_as_done("c", 42, work.request)
        result_progress._ticker._call(result_progress._records["c"].store)
        assert (result.state, result.get()) == (states.SUCCESS, 42)
    finally:
        work.pop_request()


def test_a_record_ends_at_once_if_nothing_is_being_written(backend):
    again = []
    record = Record(new_run(), new_task(backend))
    record.end(lambda: again.append(1))
    record.store()
    assert (again, record.over) == ([], True)
