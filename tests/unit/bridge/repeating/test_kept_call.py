"""Which calls travel to the archive, and which only with a reason; none reaches a client."""

from __future__ import annotations

import json

import pytest
from celery import Celery, chain, signature

from bridge import Bridge, Settings
from bridge.instrumentation import calls, publish_signals
from bridge.protocol.event import CALL, Event
from support.archive import event


def nothing(*_):
    """Stand for a task that never runs here."""


class Events:
    """In the place of an emitter: the data of what it was given."""

    def __init__(self):
        self.data = []

    def put(self, run, kind, data=None):
        self.data.append(data)


@pytest.fixture
def events(monkeypatch):
    events = Events()
    for module in (publish_signals, calls):
        monkeypatch.setattr(module, "emitter_for", lambda _: events)
    return events


@pytest.fixture
def bridge(tmp_path):
    app = Celery("kept", broker="memory://", backend="cache+memory://", set_as_current=False)
    settings = Settings(home=tmp_path, redact=("secret.*",), kept_argument_bytes=2000)
    yield Bridge(app=app, settings=settings)
    app.close()


def of_first(events):
    first, *others = events.data
    assert not [one for one in others if "trace" in one], "one call of a job"
    return json.loads(json.dumps(first["trace"][CALL]))


def test_a_call_by_name_is_kept_with_its_queue_and_without_the_time_of_its_first_run(
    bridge, events
):
    bridge.enqueue("a.task", [1], {"b": 2}, webhook="w", queue="q", countdown=3, expires=60)
    assert of_first(events) == {
        "name": "a.task", "args": [1], "kwargs": {"b": 2}, "options": {"queue": "q"},
        "webhook": "w",
    }  # fmt: skip


def test_a_canvas_is_kept_as_a_signature_without_ids(bridge, events):
    bridge.enqueue(chain(signature("a", (1,), task_id="t"), signature("b")), owner="me")
    found = of_first(events)
    assert "t" not in json.dumps(found).split('"')
    assert [one["task"] for one in found["signature"]["kwargs"]["tasks"]] == ["a", "b"]


def test_a_task_that_an_owner_s_block_publishes_is_kept_from_its_message(bridge, events):
    task = bridge.app.task(name="delayed", shared=False)(nothing)
    with bridge.owner("me"):
        task.delay(7)
    assert of_first(events) == {"name": "delayed", "args": [7], "kwargs": {}}


@pytest.mark.parametrize(
    ("task", "options", "reason"),
    [
        ("a", {"redact": True}, "redacted"),
        ("secret.task", {}, "redacted"),
        (chain(signature("a"), signature("secret.b")), {}, "redacted"),
        (signature("a").on_error(signature("secret.c")), {}, "redacted"),
        ("a", {"argsrepr": "hidden"}, "redacted"),
        ("a", {"args": ["x" * 2000]}, "too_large"),
    ],
    ids=str,
)
def test_what_is_not_kept_travels_as_a_reason(bridge, events, task, options, reason):
    bridge.enqueue(task, owner="me", **options)
    assert of_first(events) == {"omitted": reason}


def test_neither_is_what_celery_s_own_options_hide_nor_a_canvas_of_an_owner_s_block(bridge, events):
    task = bridge.app.task(name="hides", shared=False)(nothing)
    with bridge.owner("me"):
        task.apply_async((7,), argsrepr="hidden")
        chain(task.s(1), task.s(2)).apply_async()
    found = [one["trace"][CALL] for one in events.data if "trace" in one]
    assert found == [{"omitted": "redacted"}, {"omitted": "canvas"}]


def test_nothing_travels_if_nothing_is_to_be_kept(bridge, events):
    none = Bridge(app=bridge.app, settings=bridge.settings.replace(kept_argument_bytes=0))
    none.enqueue("a.task", [1], redact=True)
    none.enqueue(signature("a.task"), [1])
    assert not [one for one in events.data if "trace" in one]


def test_a_server_separates_a_call_from_the_trace_that_carries_it():
    told = {"taskbridge-call": {"name": "a"}, "traceparent": "00"}
    found = Event.decode(event("j", "queued", 0, trace=told))
    assert (found.data, found.notes) == (
        {},
        {"trace": {"traceparent": "00"}, "call": {"name": "a"}},
    )
    found = Event.decode(event("j", "queued", 0, trace={"taskbridge-call": {"name": "a"}}))
    assert found.notes == {"call": {"name": "a"}}
