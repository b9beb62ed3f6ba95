"""A server on gevent does what one on eventlet does; ``make gevent`` runs the whole suite on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.event_stream import EventStreamClient
from support.stack import Stack
from support.wait import until
from support.watched import Watched


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("gevent"), rabbitmq.new_vhost())
    try:
        serve(stack)
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


def serve(stack):
    """Start a server on gevent by the command line."""
    stack.server = stack.start("server", *stack.command("serve", "--async-mode", "gevent"))
    stack.server.await_output("serving on")
    until(stack.healthy, 30, "the server to be healthy")


def test_the_server_has_loaded_gevent_alone(stack):
    loaded = Path(f"/proc/{stack.server.pid}/maps").read_text()
    assert "/gevent/" in loaded
    assert "/eventlet/" not in loaded


def test_a_job_is_cancelled(stack):
    job = Watched(stack, "support.linger", 60)
    job.until("progress")
    stack.bridge.cancel(job.id)
    assert job.end()["state"] == "cancelled"


def test_a_job_is_streamed_as_server_sent_events_until_its_end(stack):
    job = stack.bridge.enqueue("support.talk", [200], owner="me")
    client = EventStreamClient(stack.port, f"/api/jobs/{job.id}/events", token=job.token)
    told = list(client)
    lines = [line["message"] for one in told for line in one.data.get("data", {}).get("lines", [])]
    assert lines == [f"line {number}" for number in range(200)]
    assert told[-1].data == {"state": "succeeded"}
    assert client.statuses == [200, 204]


def test_a_server_that_was_killed_and_is_back_has_missed_nothing(stack):
    job = Watched(stack, "support.counts", 200)
    job.until("log")
    stack.server.kill()
    serve(stack)
    assert job.end()["state"] == "succeeded"
    lines = [line["message"] for event in job.told for line in event["data"].get("lines", [])]
    assert lines == [f"line {number}" for number in range(200)]
    assert job.watcher.recovered
