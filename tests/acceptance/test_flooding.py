"""A task that logs without end, beside others whose history is in the same stream."""

from __future__ import annotations

import pytest

from support.stack import Stack
from support.watched import Watched

#: Bytes of the stream, which forgets whole files of a quarter of it.
STREAM = 2 * 1024 * 1024
#: Lines of the flood: several times the stream as JSON.
FLOOD = 100_000
LINES = 100


@pytest.fixture
def stack(rabbitmq, tmp_path):
    variables = {
        "TASKBRIDGE_STREAM_BYTES": str(STREAM),
        "TASKBRIDGE_LINE_BYTES_PER_SECOND": "4000",
    }
    stack = Stack(tmp_path / "stack", rabbitmq.new_vhost(), **variables)
    try:
        yield stack
    finally:
        stack.stop()


def said(told):
    return [line["message"] for event in told for line in event["data"].get("lines", ())]


def flood_beside_an_honest_job(stack):
    """Return both jobs once they are over."""
    honest = Watched(stack, "support.counts", LINES)
    honest.until("log")
    flood = Watched(stack, "support.flood", FLOOD)
    assert flood.end()["state"] == "succeeded"
    assert honest.end()["state"] == "succeeded"
    return honest, flood


def watched_anew(stack, job):
    """Return a watcher that has seen a job's end on a server that has just started."""
    watcher = stack.bridge.watch(job, timeout=60)
    return watcher, list(watcher)


def test_a_flood_costs_an_honest_job_no_history_and_its_own_watcher_is_told_what_is_missing(stack):
    server = stack.start_server()
    stack.start_worker()
    honest, flood = flood_beside_an_honest_job(stack)
    heard, snapshot = said(flood.told), flood.watcher.snapshot.encode()
    # The service's own event may come after the worker's, and is none to a client then.
    assert [kind for kind in flood.types if kind not in ("queued", "log")] == [
        "started",
        "succeeded",
    ]
    assert snapshot["dropped"] > 0
    assert len(heard) + snapshot["dropped"] == FLOOD
    assert heard[-1] == f"line {FLOOD - 1}"
    assert flood.watcher.recovered
    server.kill()
    stack.start_server()
    watcher, told = watched_anew(stack, honest.id)
    assert said(told) == [f"line {number}" for number in range(LINES)]
    assert watcher.recovered
    assert watcher.snapshot.encode()["dropped"] == 0


def test_whoever_lost_history_to_a_flood_that_nothing_limits_is_told_so(stack):
    server = stack.start_server()
    stack.start_worker(TASKBRIDGE_LINE_BYTES_PER_SECOND=str(10**12))
    honest, _ = flood_beside_an_honest_job(stack)
    server.kill()
    stack.start_server()
    watcher, told = watched_anew(stack, honest.id)
    assert len(said(told)) < LINES
    assert not watcher.recovered
