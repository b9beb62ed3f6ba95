"""A task that was terminated says so, unless its result is stored already."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery.worker.request import Request

from workers.delivery import redelivery
from workers.delivery.redelivery import DeduplicatedRequest


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
