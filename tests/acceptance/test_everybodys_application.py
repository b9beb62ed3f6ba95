"""Applications that alone name their broker, and store progress as tutorials do."""

from __future__ import annotations

import json
import signal
import urllib.request

import pytest

from bridge import Bridge
from support.wait import until


@pytest.fixture
def tutorial(new_stack, request, rabbitmq):
    """Start a server, and a worker of the application; return its stack, and a file for tasks."""

    def start(broker=None, server=True, **variables):
        stack = new_stack(broker or rabbitmq.new_vhost(), TASKBRIDGE_URL_TOKENS="1")
        results = f"db+sqlite:///{stack.home}/tutorial.sqlite"
        stack.env["TASKBRIDGE_RESULT_URL"] = results
        if server:
            stack.start_server()
        own = {"TUTORIAL_BROKER": stack.env["TASKBRIDGE_BROKER_URL"], "TUTORIAL_RESULTS": results}
        unset = {"TASKBRIDGE_BROKER_URL": "", "TASKBRIDGE_RESULT_URL": ""}
        stack.worker = stack.start_worker(app="support.tutorial", **own, **unset, **variables)
        return stack, stack.home / "go"

    return start


def progress_of(stack, job):
    url = f"{stack.url}/api/progress/{job.id}?token={job.token}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def finish(stack, job, file):
    file.touch()
    until(lambda: stack.bridge.status(job.id)["state"] == "succeeded", 30, "the end of the job")


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_events_go_over_the_applications_broker_and_its_progress_is_a_bar(
    tutorial, broker, request
):
    url = request.getfixturevalue("redis_server").url if broker == "redis" else None
    stack, file = tutorial(url)
    job = stack.bridge.enqueue("tutorial.upload", [str(file)], owner="me")

    def bars():
        return [
            (bar["n"], bar["total"], bar["desc"]) for bar in stack.bridge.status(job.id)["bars"]
        ]

    until(lambda: bars() == [(37, 100, "Uploading")], 30, "the bar")
    snapshot = stack.bridge.status(job.id)
    assert (snapshot["state"], snapshot["source"]) == ("running", "events")
    assert snapshot["meta"] == {"server": "eu-1"}
    stored = stack.bridge.app.AsyncResult(job.id)
    assert (stored.state, stored.info["status"]) == ("PROGRESS", "Uploading")
    finish(stack, job, file)
    assert "taskbridge: events go to" in stack.worker.output
    assert "no server listens" not in stack.worker.output


def test_a_task_that_is_not_captured_keeps_its_page_of_celery_progress(tutorial):
    stack, file = tutorial(TASKBRIDGE_CAPTURE="none")
    job = stack.bridge.enqueue("tutorial.record", [str(file)], owner="me")
    shown = {"pending": False, "current": 37, "total": 100, "percent": 37, "description": "rows"}
    until(lambda: progress_of(stack, job)["progress"] == shown, 30, "the progress")
    assert progress_of(stack, job)["state"] == "PROGRESS"
    assert stack.bridge.status(job.id)["bars"] == []
    finish(stack, job, file)
    assert progress_of(stack, job)["complete"]


def test_a_task_of_a_worker_that_does_not_report_keeps_it_too(tutorial):
    stack, file = tutorial(TUTORIAL_INSTALLED="0")
    job = stack.bridge.enqueue("tutorial.record", [str(file)], owner="me")
    until(lambda: progress_of(stack, job)["progress"]["current"] == 37, 30, "the progress")
    file.touch()


def test_the_script_of_celery_progress_moves_beside_a_recorder(tutorial):
    stack, file = tutorial()
    job = stack.bridge.enqueue("tutorial.record", [str(file)], owner="me")
    until(lambda: progress_of(stack, job)["progress"]["current"] == 37, 30, "the progress")
    assert progress_of(stack, job)["progress"]["description"] == "rows"
    finish(stack, job, file)


@pytest.mark.parametrize("broker", ["rabbitmq", "redis"])
def test_a_worker_warns_once_where_no_server_listens(tutorial, broker, request):
    url = request.getfixturevalue("redis_server").url if broker == "redis" else None
    stack, _ = tutorial(url, server=False, TASKBRIDGE_CHANNEL="unheard")
    warning = "no server listens to channel unheard"
    until(lambda: warning in stack.worker.output, 20, "the warning")
    assert stack.worker.output.count(warning) == 1


def test_the_stack_that_up_starts_reads_the_broker_of_its_application(new_stack, rabbitmq):
    stack, url = new_stack(), rabbitmq.new_vhost()
    results = f"db+sqlite:///{stack.home}/tutorial.sqlite"
    own = {"TUTORIAL_BROKER": url, "TUTORIAL_RESULTS": results}
    up = stack.start("up", *stack.command("up", "--no-flower", "--app", "support.tutorial"), **own)
    up.await_output("ready.")
    until(stack.healthy, 30, "the server to be healthy")
    file = stack.home / "go"
    with Bridge(settings=stack.settings.replace(broker_url=url, result_url=results)) as service:
        job = service.enqueue("tutorial.record", [str(file)], owner="me")
        until(lambda: service.status(job.id)["source"] == "events", 30, "an event")
        until(lambda: service.status(job.id)["bars"], 30, "the bar")
    file.touch()
    up.signal(signal.SIGINT)
    assert up.wait(20) == 0


def test_a_service_with_the_application_needs_no_setting_of_the_broker(tutorial, monkeypatch):
    stack, file = tutorial()
    for name, value in stack.env.items():
        if name.startswith("TASKBRIDGE_"):
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("TASKBRIDGE_BROKER_URL")
    monkeypatch.delenv("TASKBRIDGE_RESULT_URL")
    from celery import Celery

    app = Celery("service", set_as_current=False)
    with Bridge(app=app) as service:
        app.conf.broker_url = stack.settings.broker
        app.conf.result_backend = stack.settings.results
        job = service.enqueue("tutorial.upload", [str(file)], owner="me")
        until(lambda: stack.bridge.status(job.id)["queued_at"], 30, "its first event")
        finish(stack, job, file)
    app.close()
