"""No wait for a result backend is without a bound, and one that hangs slows nothing else."""

from __future__ import annotations

import logging
import os
import threading
import time
from types import SimpleNamespace

import pytest

from bridge import Bridge, Settings
from bridge.cli import doctor
from bridge.client import status
from bridge.errors import ResultsUnavailable
from bridge.results import bounded_calls, call_thread
from bridge.results.bounded_calls import BoundedCalls, bounded_calls_for
from support.hanging import Hanging
from support.wait import until

#: Seconds that a test's callers wait.
SHORT = 0.05


@pytest.fixture
def stuck():
    """An :class:`BoundedCalls` that is stuck in a call, and the event that frees it."""
    one, free = BoundedCalls(), threading.Event()
    # Not `ask`: a call whose caller gives up before the thread has begun with it is never made.
    one.begin(free.wait, within=SHORT)
    until(lambda: not one._ready(SHORT))
    yield one, free
    free.set()


def test_an_answer_and_an_error_come_back():
    one = BoundedCalls()
    assert one.ask(sum, [1, 2]) == 3
    with pytest.raises(ZeroDivisionError):
        one.ask(lambda: 1 / 0)
    assert one.ask(sum, [1, 2]) == 3


def test_calls_are_made_on_one_thread_in_their_order():
    one, seen = BoundedCalls(), []
    calls = [one.begin(lambda n=n: seen.append((n, threading.get_ident()))) for n in range(100)]
    for call in calls:
        call.wait()
    assert [n for n, _ in seen] == list(range(100))
    assert len({thread for _, thread in seen} - {threading.get_ident()}) == 1


def test_while_a_call_is_stuck_others_fail_at_once(stuck, monkeypatch):
    one, _ = stuck
    monkeypatch.setattr(bounded_calls.Call, "wait", lambda _: pytest.fail("it waited"))
    for _ in range(1000):
        with pytest.raises(ResultsUnavailable, match="does not answer: try again"):
            one.ask(lambda: "never made", within=SHORT)


def test_what_must_be_stored_is_stored_when_the_backend_answers_again(stuck):
    one, free = stuck
    stored = []
    for number in range(3):
        with pytest.raises(ResultsUnavailable):
            one.begin(stored.append, number, within=SHORT).wait()
    assert stored == []
    free.set()
    until(lambda: stored == [0, 1, 2])


def test_what_is_not_waited_for_any_more_is_not_asked_later(stuck):
    one, free = stuck
    asked = []
    call = bounded_calls.Call(lambda: asked.append(1), 0.0, keep=False)
    one._calls.put(call)
    with pytest.raises(ResultsUnavailable):
        call.wait()
    free.set()
    until(lambda: one._worker.begun is None)
    assert one.ask(lambda: asked) == []


def test_what_was_withdrawn_is_not_asked_later_though_its_answer_was_looked_for(stuck):
    one, free = stuck
    asked = []
    call = bounded_calls.Call(lambda: asked.append(1), 0.0, keep=True)
    one._calls.put(call)
    call.abandon()
    with pytest.raises(ResultsUnavailable):
        call.wait(0.0)
    free.set()
    until(lambda: one._worker.begun is None)
    assert one.ask(lambda: asked) == []


def test_as_soon_as_the_stuck_call_ends_all_is_as_before(stuck):
    one, free = stuck
    free.set()
    until(lambda: one._worker.begun is None)
    assert one.ask(sum, [1, 2]) == 3


def test_a_fresh_thread_takes_over_from_one_that_is_stuck_for_ever(stuck, monkeypatch):
    one, free = stuck
    monkeypatch.setattr(bounded_calls, "PAUSE", (0.0, 0.0))
    until(lambda: _answers(one))
    assert not free.is_set()
    assert one.ask(sum, [1, 2]) == 3


def _answers(one):
    try:
        return one.ask(lambda: True, within=SHORT)
    except ResultsUnavailable:
        return False


def test_threads_that_are_stuck_are_bounded_and_end_with_their_calls(monkeypatch):
    monkeypatch.setattr(bounded_calls, "PAUSE", (0.0, 0.0))
    monkeypatch.setattr(bounded_calls, "MAX_STUCK", 3)
    one, free, begun = BoundedCalls(), threading.Event(), []

    def hang():
        begun.append(threading.get_ident())
        free.wait()

    for _ in range(10):
        with pytest.raises(ResultsUnavailable):
            one.ask(hang, within=SHORT)
    assert len(set(begun)) == 4
    assert len(one._stuck) == 3
    free.set()
    until(lambda: _answers(one) and one._stuck == [])


def test_what_waits_for_a_backend_that_hangs_is_bounded(stuck, monkeypatch):
    one, _ = stuck
    monkeypatch.setattr(bounded_calls, "MAX_KEPT", 5)
    for _ in range(5):
        one.begin(print, within=SHORT)
    with pytest.raises(ResultsUnavailable):
        one.begin(print, within=SHORT)


def test_what_is_offered_while_a_call_takes_its_time_is_bounded(monkeypatch):
    monkeypatch.setattr(bounded_calls, "MAX_KEPT", 5)
    one, free = BoundedCalls(), threading.Event()
    one.offer(free.wait)
    until(lambda: one._worker.begun)
    offered = [one.offer(lambda: "made") for _ in range(7)]
    free.set()
    assert [call and call.wait() for call in offered] == ["made"] * 5 + [None] * 2


def test_a_fork_waits_for_a_call_to_end_and_its_child_has_a_thread_of_its_own():
    app = SimpleNamespace(conf=SimpleNamespace(result_backend="redis://forked"))
    under_way = []

    def call():
        under_way.append(True)
        time.sleep(0.2)
        under_way.clear()

    begun = bounded_calls_for(app).begin(call)
    until(lambda: under_way, interval=0.001)
    if not (child := os.fork()):
        os._exit(len(under_way) + 2 * (bounded_calls_for(app).ask(sum, [1]) != 1))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    begun.wait()


def test_a_fork_waits_for_a_call_that_waits_for_another_thread_which_may_begin():
    """The retry of a lost task is stored on one thread and published on another."""
    outer, inner, begun = BoundedCalls(), BoundedCalls(), threading.Event()
    inner.ask(int)

    def publish():
        begun.set()
        until(lambda: call_thread._forking)
        return inner.ask(lambda: "stored", within=0.5)

    one = outer.begin(publish, within=5)
    assert begun.wait(5)
    if not (child := os.fork()):
        os._exit(0)
    assert one.done
    assert one.wait() == "stored"
    os.waitpid(child, 0)


def test_a_fork_does_not_wait_for_a_call_that_is_stuck(monkeypatch):
    monkeypatch.setattr(call_thread, "FORK_PATIENCE", SHORT)
    app = SimpleNamespace(conf=SimpleNamespace(result_backend="redis://stuck"))
    free = threading.Event()
    with pytest.raises(ResultsUnavailable):
        bounded_calls_for(app).ask(free.wait, within=SHORT)
    if not (child := os.fork()):
        os._exit(bounded_calls_for(app).ask(sum, [1]) != 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not free.is_set()
    free.set()


@pytest.fixture
def hung(tmp_path, monkeypatch):
    """A service whose result backend accepts and never answers, and whose broker does nothing."""
    monkeypatch.setattr(bounded_calls, "PATIENCE", SHORT)
    monkeypatch.setattr(bounded_calls.BoundedCalls.ask, "__kwdefaults__", {"within": SHORT})
    monkeypatch.setattr(bounded_calls.BoundedCalls.begin, "__kwdefaults__", {"within": SHORT})
    with Hanging() as backend:
        settings = Settings(
            home=tmp_path, broker_url="memory://", result_url=backend.redis, secret=("s" * 32,)
        )
        with Bridge(settings=settings) as bridge:
            yield bridge


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")
def test_a_cancel_reaches_the_workers_before_the_backend_is_waited_for(hung, monkeypatch, caplog):
    told = []
    monkeypatch.setattr(
        "bridge.cancelling.cancel_request.broadcast", lambda app, job: told.append(job)
    )
    with caplog.at_level(logging.WARNING):
        hung.request_cancel("one")
        hung.request_cancel("two")
    assert told == ["one", "two"]
    assert "workers that start later may run job one: the result backend does not" in caplog.text


def test_a_cancel_reaches_the_workers_though_there_can_be_no_backend(hung, monkeypatch):
    told = []
    monkeypatch.setattr(
        "bridge.cancelling.cancel_request.broadcast", lambda app, job: told.append(job)
    )
    monkeypatch.setattr(
        Bridge, "app", property(lambda _: (_ for _ in ()).throw(ImportError("no driver")))
    )
    hung.request_cancel("one")
    assert told == ["one"]


def test_a_status_that_only_a_hanging_backend_knows_is_an_error_of_one_sentence(hung):
    with pytest.raises(ResultsUnavailable, match="the result backend does not answer"):
        hung.status("one")
    assert status.state_of(hung, "one") == ("queued", None)


def test_the_doctor_names_a_backend_that_hangs_in_one_sentence(hung):
    with pytest.raises(doctor.Ill, match=r"no results at redis://.* \(it does not answer within"):
        doctor._results({"bridge": hung})


def test_each_process_and_backend_has_one_thread_however_many_bridges_there_are():
    def app(url):
        return SimpleNamespace(conf=SimpleNamespace(result_backend=url))

    assert bounded_calls_for(app("redis://one")) is bounded_calls_for(app("redis://one"))
    assert bounded_calls_for(app("redis://one")) is not bounded_calls_for(app("redis://two"))
