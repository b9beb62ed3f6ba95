"""What a published message says: numbers by which the executions of a task are in order."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace

import kombu
import pytest
from celery import Celery, signals
from celery._state import _task_stack
from kombu import Exchange, Queue

from bridge.instrumentation import installed, publish_signals
from bridge.instrumentation.header import HEADER, run_after, stopped_clock
from bridge.protocol.event import Event
from bridge.reporting.run import Run
from bridge.settings import Settings

#: A number of an execution by a clock that is an hour ahead.
AHEAD = time.time_ns() // 1000 + 3_600_000_000


@pytest.fixture(scope="module")
def app():
    """An application that tracks its tasks, and publishes where nothing reads."""
    before = installed.replace_settings(Settings())
    publish_signals.connect()
    app = Celery("executions", broker="memory://", set_as_current=False)

    @app.task(name="executions.task")
    def nothing():
        """Do nothing."""

    yield app
    installed.replace_settings(before)


@pytest.fixture
def published():
    """Headers of all messages that are published."""
    seen = []

    def note(headers, **_):
        seen.append(headers[HEADER])

    signals.before_task_publish.connect(note, weak=False)
    yield seen
    signals.before_task_publish.disconnect(note)


@contextlib.contextmanager
def running(task, **header):
    """Make a task the one that runs."""
    task.push_request(id="t", root_id="j", retries=0, taskbridge={"owner": "o", **header})
    _task_stack.push(task)
    yield
    _task_stack.pop()
    task.pop_request()


def test_a_task_that_comes_after_another_has_a_greater_number_whatever_its_host_says(
    app, published, monkeypatch
):
    monkeypatch.setattr(publish_signals, "emitter_for", lambda settings: Sink())
    task = app.tasks["executions.task"]
    with running(task, run=AHEAD):
        task.apply_async()
    [header] = published
    assert run_after(header) > run_after({"run": AHEAD}) > AHEAD


def test_a_task_that_is_tried_again_has_a_greater_number_than_all_reports_of_its_failure(
    app, published, monkeypatch
):
    """Celery's parent process publishes it before it reports that the child is dead."""
    monkeypatch.setattr(publish_signals, "emitter_for", lambda settings: Sink())
    for run in ({}, {"run": AHEAD}):
        header = {"owner": "o", "at": 1.0, "total": 1, **run}
        app.tasks["executions.task"].apply_async(headers={HEADER: header})
        report = run_after(header, 2)
        assert run_after(published[-1]) > report
        assert published[-1]["total"] == 1
    assert header == {"owner": "o", "at": 1.0, "total": 1, "run": AHEAD}, "not changed in place"


def test_a_report_that_comes_long_after_the_retry_has_the_smaller_number(
    app, published, monkeypatch
):
    monkeypatch.setattr(publish_signals, "emitter_for", lambda settings: Sink())
    header = {"owner": "o", "at": 1.0}
    with stopped_clock():
        app.tasks["executions.task"].apply_async(headers={HEADER: header})
        hour = time.time_ns() + 3_600_000_000_000
        monkeypatch.setattr(time, "time_ns", lambda: hour)
        assert run_after(header, 2) < run_after(published[-1])
    assert run_after(header, 2) == hour // 1000


@pytest.mark.parametrize(
    ("given", "title"),
    [("Orders of May", "Orders of May"), ("two\nlines", None), ("", None), (7, None)],
)
def test_a_header_gives_a_job_its_title_unless_it_is_none(
    app, published, monkeypatch, given, title
):
    monkeypatch.setattr(publish_signals, "emitter_for", lambda settings: Sink())
    with publish_signals.enqueuing("o", Settings()):
        app.tasks["executions.task"].apply_async(headers={"taskbridge_title": given})
    assert published[-1].get("title") == title


def test_a_job_whose_end_is_delivered_says_so_to_servers_alone(app, published, monkeypatch):
    sent = []
    sink = SimpleNamespace(put=lambda run, kind, data: sent.append((kind, data)))
    monkeypatch.setattr(publish_signals, "emitter_for", lambda settings: sink)
    with publish_signals.enqueuing("o", Settings(), webhook="billing"):
        app.tasks["executions.task"].apply_async()
    assert published[-1]["webhook"] == "billing"
    [(kind, data)] = sent
    assert (kind, data["webhook"]) == ("queued", "billing")
    event = Event(job="j", task="j", type="queued", at=1.0, name="n", data=data)
    told = Event.decode(event.encode())
    assert told.notes["webhook"] == "billing"
    assert "webhook" not in told.data


def named(name, kind="direct", **options):
    """Return a queue that is bound to an exchange."""
    return Queue(name, Exchange(f"{name}-exchange", kind), routing_key="a.#", **options)


@pytest.mark.parametrize(
    ("options", "queue"),
    [
        ({}, "celery"),
        ({"queue": "mail"}, "mail"),
        ({"queue": named("mail", "topic"), "routing_key": "a.b"}, "mail"),
        ({"queue": named("mail"), "exchange": "other", "routing_key": "a.b"}, None),
        ({"exchange": "celery_delayed_27", "routing_key": "0.1.mail"}, None),
    ],
    ids=str,
)
def test_a_message_names_its_queue_unless_that_is_not_certain(
    app, published, monkeypatch, options, queue
):
    monkeypatch.setattr(publish_signals, "emitter_for", lambda settings: Sink())
    if isinstance(options.get("queue"), Queue):
        app.amqp.queues.add(options["queue"])
    monkeypatch.setattr(kombu.Producer, "publish", lambda *_, **__: None)
    with publish_signals.enqueuing("o", Settings()):
        app.tasks["executions.task"].apply_async(**options)
    assert published[-1].get("queue") == queue


@pytest.mark.parametrize(
    ("options", "queue"),
    [
        ({"queue": "mail"}, "mail"),
        ({"exchange": "celery_delayed_27", "routing_key": "0.1.mail"}, None),
    ],
    ids=str,
)
def test_a_run_that_publishes_its_task_again_knows_the_queue_of_that_and_has_sent_what_it_said(
    app, monkeypatch, options, queue
):
    done = []
    monkeypatch.setattr(publish_signals, "emitter_for", lambda settings: Sink())
    monkeypatch.setattr(kombu.Producer, "publish", lambda *_, **__: done.append("published"))
    run = Run(job="j", task="t", name="n", queue="celery")
    emitter = SimpleNamespace(flush=lambda timeout: done.append("sent"))
    monkeypatch.setattr(publish_signals.current_job, "running", lambda task: (run, emitter))
    task = app.tasks["executions.task"]
    with running(task, queue="celery"):
        task.apply_async(task_id="t", **options)
    assert (run.republished, run.queue, done) == (True, queue, ["sent", "published"])


class Sink:
    """An emitter that sends nothing."""

    def put(self, *_):
        """Drop it."""
