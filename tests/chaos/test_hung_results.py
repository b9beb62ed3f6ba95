"""While the result backend accepts and never answers, cancels work and the server answers."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from celery import group, signature

from bridge import Settings
from bridge.cancelling import cancel_mark
from bridge.client.celery_app import new_app
from bridge.errors import JobNotFound, ResultsUnavailable
from bridge.protocol.event import TERMINAL
from support.link import Link
from support.raw import Raw
from support.stack import Stack
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(200)

#: Seconds; less than any wait of Celery or a client library for the backend.
SOON = 20


@pytest.fixture
def link(redis_server):
    """The way to the result backend."""
    with Link(redis_server.port) as link:
        yield link


@pytest.fixture
def server(rabbitmq, link, tmp_path):
    """A server with its results behind the link."""
    results = f"redis://127.0.0.1:{link.port}/0"
    stack = Stack(tmp_path / "home", rabbitmq.new_vhost(), TASKBRIDGE_RESULT_URL=results)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture(params=["workers.app", pytest.param("support.own_app", marks=pytest.mark.long)])
def stack(request, server):
    """The server, and a worker of two processes."""
    server.start_worker(app=request.param)
    return server


def ask(client, kind, **request):
    """Return a request's answer, which must not take long."""
    begun = time.monotonic()
    answer = client.ask(kind, request)
    assert time.monotonic() - begun < SOON / 2, (kind, answer)
    return answer


def test_cancels_take_effect_and_requests_are_answered(stack, link, redis_server, tmp_path):
    reporting = Watched(stack, "support.work", 600)
    silent = Watched(stack, "support.linger", 600, str(tmp_path / "cleaned"))
    reporting.until("progress")
    silent.pid()
    waiting = Watched(stack, "support.note", str(tmp_path / "ran"), 0)
    note = signature("support.note", args=(str(tmp_path / "ran"), 0), immutable=True)
    grouped = Watched(stack, group([note] * 20))
    grouped.until("queued")
    link.swallow()

    jobs = [silent, reporting, waiting, grouped]
    with Raw("127.0.0.1", stack.port).open() as client:
        client.connect(stack.token(owner="me", scope="watch cancel enqueue"))
        for job in jobs:
            assert ask(client, "cancel", job=job.id)["ok"]
        until(lambda: states(client) <= TERMINAL, SOON, interval=0.2)
        assert states(client) == {"cancelled"}
        assert (tmp_path / "cleaned").exists()
        later = ask(client, "enqueue", name="support.linger", args=[600])
        assert later["ok"]
        assert ask(client, "watch", job=later["job"])["ok"]
        assert stack.healthy()
    assert not (tmp_path / "ran").exists()

    link.heal()
    app = new_app(Settings(broker_url="memory://"), redis_server.url)
    until(lambda: all(cancel_mark.is_stored(app.backend, job.id) for job in jobs), 40)
    app.close()


def test_tasks_whose_processes_die_are_tried_again(server, link, tmp_path):
    server.start_worker()
    jobs = [Watched(server, "support.held", str(tmp_path / "file")) for _ in range(2)]
    pids = [job.pid() for job in jobs]
    link.swallow()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for job in jobs:
        began = time.monotonic()
        assert job.until("retrying")["data"]["attempt"] == 1
        assert job.until("started")["data"]["attempt"] == 2
        assert time.monotonic() - began < SOON
    link.heal()
    (tmp_path / "file").touch()
    assert [job.end()["state"] for job in jobs] == ["succeeded"] * 2


def states(client):
    return {one["state"] for one in ask(client, "jobs")["jobs"]}


def test_a_job_that_only_the_backend_could_know_is_unavailable_and_not_missing(server, link):
    """`not_found` would be final for a client."""
    link.swallow()
    with ThreadPoolExecutor() as threads:
        patient = threads.submit(list, server.bridge.watch("nowhere"))
        hasty = threads.submit(list, server.bridge.watch("nowhere", timeout=0.1))
        paths = threads.map(
            lambda path: http_status(server, path), ("/api/jobs/nowhere", "/api/progress/nowhere")
        )
        with Raw("127.0.0.1", server.port).open() as client:
            client.connect(server.token(jobs=["elsewhere"], scope="watch cancel"))
            answer = {"ok": True, "job": "elsewhere", "state": "queued"}
            assert ask(client, "cancel", job="elsewhere") == answer
        with pytest.raises(ResultsUnavailable, match="does not answer"):
            hasty.result(SOON)
        assert list(paths) == [503, 503]
        link.heal()
        with pytest.raises(JobNotFound):
            patient.result(SOON)


def http_status(server, path):
    token = server.token(jobs=["nowhere"])
    request = Request(server.url + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request, timeout=SOON) as answer:
            return answer.status
    except HTTPError as error:
        error.close()
        return error.code
