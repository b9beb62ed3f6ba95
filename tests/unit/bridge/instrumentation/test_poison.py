"""A task's message is looked at before the worker uses it, and its own header is put right."""

from __future__ import annotations

import inspect
import json

import pytest
from celery import Celery, bootsteps
from celery.app.task import Context
from celery.exceptions import InvalidTaskError
from celery.worker.consumer import Consumer
from celery.worker.consumer.tasks import Tasks
from kombu.message import Message

from bridge.instrumentation import poison
from bridge.instrumentation.header import HEADER, sound
from support.poison import ODD, POISONS

#: What Celery itself ends, by its signals, or what is wrong before a message has a body.
CELERYS = {
    "a name that nobody knows",
    "a name of 10,000 characters",
    "no task",
    "a body that is not compressed as it says",
    "a compression that is none",
}


def message(wrong=None, **header):
    """Return what a consumer is handed; see ``support.poison``."""
    wrong = wrong or {}
    headers = {"id": "t", "root_id": "t", "task": "support.add", HEADER: header}
    body = wrong.get("body", [[1, 2], {}, {}])
    return Message(
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        content_type=wrong.get("content_type", "application/json"),
        content_encoding="utf-8",
        headers=headers | wrong.get("headers", {}),
        accept={"application/json"},
    )


@pytest.mark.parametrize("name", sorted(POISONS.keys() - CELERYS))
def test_what_would_raise_in_the_worker_is_refused_with_one_sentence(name):
    with pytest.raises(InvalidTaskError) as refusal:
        poison._check(message(POISONS[name]))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("limit", [float("nan"), float("inf"), True, "1"])
def test_a_time_limit_that_is_no_number_of_seconds_is_refused(limit):
    with pytest.raises(InvalidTaskError, match="timelimit"):
        poison._check(message({"headers": {"timelimit": [limit, None]}}))


def test_messages_as_celery_makes_them_pass():
    app = Celery("of the test", broker="memory://", set_as_current=False)
    link = app.signature("x", args=(1,))
    for options in (
        {},
        {"eta": None, "expires": 30.0, "countdown": 2},
        {"time_limit": 3, "soft_time_limit": 2.5, "retries": 3, "shadow": "another name"},
        {"callbacks": [link], "errbacks": [link], "chain": [link], "chord": link},
        {"group_id": "g", "group_index": 0, "parent_id": "p", "root_id": "r"},
    ):
        countdown = options.pop("countdown", None)
        made = app.amqp.as_task_v2("t", "n", (1,), {"a": [1]}, countdown=countdown, **options)
        body = json.loads(json.dumps(made.body))
        headers = json.loads(json.dumps(made.headers))
        poison._check(message({"body": body, "headers": headers}))


def test_messages_of_the_first_protocol_pass_too():
    body = {"id": "t", "task": "n", "args": [1], "kwargs": {}, "retries": 0, "eta": None}
    first = Message(json.dumps(body).encode(), content_type="application/json")
    poison._check(first)
    body["retries"] = "often"
    first = Message(json.dumps(body).encode(), content_type="application/json")
    with pytest.raises(InvalidTaskError, match="retries"):
        poison._check(first)


@pytest.mark.parametrize("name", ODD)
def test_what_is_wrong_in_our_own_header_is_dropped(name):
    odd = message(None, redact=True, at=1.0, **{k: v for k, v in ODD[name].items() if k != "at"})
    poison._check(odd)
    assert odd.headers[HEADER] == {"redact": True, "at": 1.0}


@pytest.mark.parametrize("header", ["me", ["me"], 7, None])
def test_a_header_that_is_none_of_ours_leaves_the_task_alone(header):
    one = message({"headers": {HEADER: header}})
    poison._check(one)
    assert one.headers[HEADER] is None


def test_numbers_that_are_none_are_dropped():
    header = {"total": float("nan"), "more": True, "at": float("inf"), "new": [1]}
    assert sound(header) == {"new": [1]}


def test_the_insides_of_celery_that_are_reached_into_are_where_they_were():
    """A newer Celery that moves them must fail here and not in production."""
    for name in ("asynloop", "synloop"):
        source = inspect.getsource(inspect.getmodule(Consumer).loops.__dict__[name])
        assert "create_task_handler()" in source
    assert "c.on_decode_error" in inspect.getsource(Tasks.start)
    assert list(inspect.signature(Consumer.on_decode_error).parameters)[1:] == ["message", "exc"]
    assert "signals.task_rejected.send(sender=self, message=message" in inspect.getsource(
        Consumer.on_invalid_task
    )
    assert callable(bootsteps.Step.create)
    assert Context({"id": "t"}).chord is None
