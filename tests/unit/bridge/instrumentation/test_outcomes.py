"""What a task's end has to say."""

from __future__ import annotations

import datetime
from types import SimpleNamespace

import pytest
from billiard.einfo import ExceptionInfo
from celery.exceptions import (
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerLostError,
)

from bridge.errors import InputError
from bridge.instrumentation import outcomes
from bridge.protocol.event import MAX_RESULT_BYTES
from bridge.reporting.run import Run
from bridge.settings import Settings

LATE = SimpleNamespace(acks_late=True, acks_on_timeout=True)
EARLY = SimpleNamespace(acks_late=False, acks_on_timeout=True)
QUIET, LOUD = Settings(), Settings(show_tracebacks=True)


def run(**state):
    new = Run(job="j", task="j", name="n")
    for name, value in state.items():
        setattr(new, name, value)
    return new


@pytest.mark.parametrize("value", [None, 7, "text", {"a": [1, 2.5]}])
def test_a_result_that_is_json_travels(value):
    assert outcomes.result(value) == {"result": value}


@pytest.mark.parametrize("value", [float("nan"), object(), "x" * MAX_RESULT_BYTES, {1: {2: set()}}])
def test_one_that_is_not_or_is_too_large_is_left_out(value):
    assert outcomes.result(value) == {"result_omitted": True}


def test_a_failure_carries_class_and_message():
    told = outcomes.failure(ValueError("no"), LATE, QUIET)
    assert told == {"error": {"class": "ValueError", "message": "no"}, "retry": False}


def test_a_traceback_travels_only_when_asked_for_and_not_for_bad_input():
    assert "traceback" in outcomes.failure(ValueError("no"), LATE, LOUD)["error"]
    assert "traceback" not in outcomes.failure(InputError("no"), LATE, LOUD)["error"]


def test_a_lost_process_says_what_died_and_of_what():
    told = outcomes.failure(WorkerLostError("Worker exited prematurely: signal 9."), LATE, QUIET)
    assert "process" in told["reason"]
    assert "memory" in told["reason"]
    assert "memory" not in outcomes.failure(WorkerLostError("exit 1"), LATE, QUIET)["reason"]


@pytest.mark.parametrize("limit", [SoftTimeLimitExceeded, TimeLimitExceeded])
def test_a_time_limit_is_told_in_words(limit):
    message = outcomes.failure(limit(30), LATE, QUIET)["error"]["message"]
    assert message == "it took longer than its time limit of 30 s"
    assert outcomes.failure(limit(), LATE, QUIET)["error"]["message"].endswith("time limit")


def test_a_task_that_is_delivered_again_after_its_time_limit_says_so():
    again = SimpleNamespace(acks_late=True, acks_on_timeout=False)
    assert outcomes.failure(TimeLimitExceeded(1), again, QUIET)["retry"]
    assert not outcomes.failure(TimeLimitExceeded(1), LATE, QUIET)["retry"]


def test_a_retry_says_why_and_when():
    when = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    told = outcomes.retry(Retry("m", ValueError("no"), when), QUIET)
    assert told == {
        "error": {"class": "ValueError", "message": "no"},
        "retry_at": when.timestamp(),
    }


def test_a_moment_is_understood_however_celery_writes_it(monkeypatch):
    monkeypatch.setattr(outcomes.time, "time", lambda: 100.0)
    assert outcomes.moment(5) == 105.0
    assert outcomes.moment("1970-01-01T00:01:00+00:00") == 60.0
    assert outcomes.moment(None) is None


@pytest.mark.parametrize(
    ("state", "of", "task", "told"),
    [
        (None, {"cancelled": True}, LATE, "cancelled"),
        (None, {}, LATE, "retrying"),
        (None, {}, EARLY, None),
        ("IGNORED", {}, LATE, "succeeded"),
        ("IGNORED", {"republished": True}, LATE, "retrying"),
        ("FAILURE", {}, LATE, None),
        ("SUCCESS", {}, LATE, None),
    ],
)
def test_what_nobody_else_tells_is_told(state, of, task, told):
    found = outcomes.untold(run(**of), task, state, None)
    assert (found and found[0]) == told


def test_a_rejected_task_is_tried_again_if_it_is_queued_again():
    assert outcomes.untold(run(), LATE, "REJECTED", Reject("r", requeue=True))[0] == "retrying"
    assert outcomes.untold(run(), LATE, "REJECTED", Reject("r")) is None


def test_an_exception_info_is_no_rejection():
    try:
        raise ValueError
    except ValueError:
        assert outcomes.untold(run(), LATE, "REJECTED", ExceptionInfo()) is None
