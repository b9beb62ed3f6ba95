"""A task that was terminated says so, unless its result is stored already."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from celery.worker import state
from celery.worker.request import Request

from bridge.durable import redelivery
from bridge.durable.redelivery import DeduplicatedRequest


def request_of(get_state):
    """Return a request of a task whose stored state is what ``get_state`` says."""
    request = DeduplicatedRequest.__new__(DeduplicatedRequest)
    request.id, request._ignore_result = "t", False
    backend = SimpleNamespace(get_state=get_state)
    request._task = SimpleNamespace(backend=backend, track_started=True)
    return request


@pytest.mark.parametrize(
    ("stored", "told"),
    # Remote control stores REVOKED before it sends the signal.
    [
        ("REVOKED", True),
        ("STARTED", True),
        ("PENDING", True),
        ("SUCCESS", False),
        ("FAILURE", False),
    ],
)
def test_a_terminated_task_is_told_of_unless_it_had_ended(monkeypatch, stored, told):
    announced = []
    monkeypatch.setattr(Request, "_announce_revoked", lambda *_: announced.append(True))
    monkeypatch.setattr(DeduplicatedRequest, "acknowledge", lambda self: None)
    request = request_of(lambda _: stored)
    request._announce_revoked("terminated", True, 15, False)
    assert bool(announced) == told


def test_a_backend_that_is_away_is_no_reason_to_keep_silent(monkeypatch):
    announced = []
    monkeypatch.setattr(Request, "_announce_revoked", lambda *_: announced.append(True))

    def fail(_):
        raise OSError("away")

    request = request_of(fail)
    request._announce_revoked("terminated", True, 15, False)
    assert announced


def test_a_message_belongs_to_the_execution_whose_retry_is_being_published_and_to_no_other():
    first, again, next_attempt = (
        DeduplicatedRequest.__new__(DeduplicatedRequest) for _ in range(3)
    )
    for request, retries in ((first, 0), (again, 0), (next_attempt, 1)):
        request.id, request._request_dict = "t", {"retries": retries}
    redelivery._retrying[first._execution] = first
    try:
        assert again._running() is first
        assert next_attempt._running() is None
    finally:
        redelivery._retrying.clear()


def delivery_of(task, acknowledged, name, *, again=False):
    """Return a request of a delivery of ``task``; its acknowledgement appends ``name``."""
    request = DeduplicatedRequest.__new__(DeduplicatedRequest)
    request.id, request._request_dict = task, {"retries": 0}
    request.acknowledged, request._already_revoked, request._already_cancelled = False, False, False
    request._delivery_info, request._expires = {"redelivered": again}, None
    request._on_ack = request._on_reject = lambda *_: acknowledged.append(name)
    request._connection_errors = ()
    return request


@pytest.fixture
def execution():
    """A request whose task runs, the request of its second delivery, and what is acknowledged."""
    acknowledged = []
    first = delivery_of("t", acknowledged, "first")
    state.active_requests.add(first)
    yield first, delivery_of("t", acknowledged, "second", again=True), acknowledged
    state.active_requests.discard(first)
    state.successful_requests.clear()
    redelivery._finished.clear()


def test_a_task_that_fails_while_its_message_comes_again_acknowledges_that(execution, monkeypatch):
    first, second, acknowledged = execution

    def fail(request, *_):
        state.task_ready(request)  # as Celery does first
        assert second.revoked()
        request.acknowledge()

    monkeypatch.setattr(Request, "on_failure", fail)
    first.on_failure(SimpleNamespace(exception=ValueError()))
    assert acknowledged == ["second"]


def test_a_task_that_has_just_succeeded_does_not_run_again(execution):
    first, second, acknowledged = execution
    state.task_ready(first, successful=True)
    assert second.revoked()
    assert acknowledged == ["second"]


def test_an_end_and_a_second_delivery_at_the_same_time_leave_nothing_unacknowledged(
    execution, monkeypatch
):
    first, second, acknowledged = execution
    ends = threading.Thread(target=first.acknowledge)
    found = DeduplicatedRequest._running

    def running(request):
        ends.start()
        ends.join(0.2)  # it has to wait for the second delivery
        return found(request)

    monkeypatch.setattr(DeduplicatedRequest, "_running", running)
    assert second.revoked()
    ends.join()
    assert "second" in acknowledged
