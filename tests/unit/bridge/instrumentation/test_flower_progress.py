"""Flower: what it is told of a running task, and that its states come in order."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from celery import states
from celery.events.state import State

from bridge.instrumentation import flower_progress
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import Run


class App:
    """As much of a Celery application as is used."""

    def __init__(self, sends=True):
        self.conf = SimpleNamespace(worker_send_task_events=sends)
        self.events, self.sent = self, []

    @contextmanager
    def default_dispatcher(self, hostname=None):
        self.host = hostname
        yield self

    def send(self, kind, **fields):
        self.sent.append((kind, fields))


@pytest.fixture
def app():
    return App()


@pytest.fixture
def run():
    return Run(job="j", task="t", name="n", owner="me")


def task_of(app):
    return SimpleNamespace(app=app, request=SimpleNamespace(hostname="w@h"))


def show(run, **reading):
    bar = SimpleNamespace(reading=Reading(**reading))
    run.show(None, Meter(lambda: bar.reading))
    return bar


def test_a_running_tasks_progress_is_told_when_it_has_changed(app, run):
    teller = flower_progress.Teller(run, task_of(app))
    teller.tell()
    assert app.sent == [], "there is no bar yet"
    bar = show(run, n=250, total=1000, desc="rows", unit="row")
    teller.tell()
    teller.tell()
    [(kind, fields)] = app.sent
    assert (kind, fields["uuid"], fields["result"]) == (
        "task-progress", "t", "25% · 250/1,000 row · rows"
    )  # fmt: skip
    assert (fields["job"], fields["owner"], app.host) == ("j", "me", "w@h")
    bar.reading = Reading(n=251, total=1000)
    run.over = True
    teller.tell()
    assert len(app.sent) == 1, "what is over has no progress"


def test_a_worker_that_sends_no_events_sends_none_of_progress(run, monkeypatch):
    added = []
    monkeypatch.setattr(flower_progress._ticker, "add", lambda key, call: added.append(key))
    flower_progress.track(run, task_of(App(sends=False)))
    flower_progress.track(run, task_of(App()))
    assert added == ["t"]


@pytest.mark.parametrize(
    ("reading", "text"),
    [
        (Reading(3), "3 it"),
        (Reading(3, 0, unit=""), "3"),
        (Reading(2_500_000, 10_000_000, unit="B"), "25% · 2,500,000/10,000,000 B"),
        (Reading(12, 10), "100% · 12/10 it"),
        (Reading("none", None, unit=None), "0"),
    ],
)
def test_a_bar_is_one_line(reading, text):
    assert flower_progress.describe(reading) == text


def test_operators_find_a_task_by_its_job_and_its_owner():
    headers = {"root_id": "j", "kwargsrepr": "{'a': 1}"}
    flower_progress.note_job(headers, "me")
    flower_progress.note_job(headers, "me")
    assert headers["kwargsrepr"] == "{'a': 1} job=j owner=me"


@pytest.mark.parametrize(
    ("owner", "told"),
    [
        ("me page=https://evil.example/", '"me page=https://evil.example/"'),
        ('me"', '"me\\""'),
        ("me\u00a0owner=you", '"me\u00a0owner=you"'),
        ("\u202eme\u2066", "me"),
        ("auth0|5b0c=", "auth0|5b0c="),
        ("Zoë", "Zoë"),
    ],
)
def test_no_owner_looks_like_a_page_or_another_owner(owner, told):
    headers = {"root_id": "j", "kwargsrepr": "{}"}
    flower_progress.note_job(headers, owner)
    assert headers["kwargsrepr"] == f"{{}} job=j owner={told}"


def test_operators_find_the_page_of_a_job():
    headers = {"root_id": "j", "kwargsrepr": "{}"}
    flower_progress.note_job(headers, None, "https://jobs.example.org/")
    assert headers["kwargsrepr"] == "{} job=j page=https://jobs.example.org/#job=j"


def seen_by_flower(*kinds):
    """Return the state of a task in a monitor that got these events."""
    state = State()
    for at, kind in enumerate(kinds):
        fields = {"uuid": "t", "hostname": "w", "timestamp": at, "local_received": at}
        state.event({"type": f"task-{kind}", "clock": at, "utcoffset": 0, "pid": 1, **fields})
    return state.tasks["t"].state


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        (["received", "started", "progress"], "PROGRESS"),
        (["received", "started", "progress", "progress"], "PROGRESS"),
        (["received", "started", "progress", "succeeded"], states.SUCCESS),
        (["received", "started", "progress", "failed"], states.FAILURE),
        (["received", "started", "progress", "revoked"], states.REVOKED),
        (["received", "started", "progress", "retried"], states.RETRY),
        (["received", "started", "succeeded", "progress"], states.SUCCESS),
        (["received", "started", "revoked", "progress"], states.REVOKED),
    ],
)
def test_progress_comes_after_the_start_and_before_any_end(kinds, state):
    flower_progress.install()
    assert seen_by_flower(*kinds) == state


@pytest.mark.parametrize(
    ("configured", "started_with", "sent"), [(True, False, 1), (False, True, 1), (False, False, 0)]
)
def test_a_cancelled_task_is_told_as_revoked_where_its_worker_sends_events(
    configured, started_with, sent, monkeypatch
):
    monkeypatch.setattr(flower_progress, "_asked", [])
    flower_progress.prepare(SimpleNamespace(task_events=started_with))
    app = App(sends=configured)
    task = task_of(app)
    task.request.id = "t"
    flower_progress.tell_revoked(task)
    assert [kind for kind, _ in app.sent] == ["task-revoked"] * sent
    assert all(fields["uuid"] == "t" for _, fields in app.sent)
