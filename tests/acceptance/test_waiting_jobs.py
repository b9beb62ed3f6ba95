"""Jobs that wait for long are found while others come and end."""

from __future__ import annotations

import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.errors import JobNotFound
from support.ports import free_port
from support.stack import Stack
from support.wait import until

#: Jobs that wait in a queue of their own, and that end meanwhile; 200 and 20,000 at length.
WAITING = int(os.environ.get("WAITING_JOBS", "30"))
ENDING = int(os.environ.get("ENDING_JOBS", "200"))
#: Jobs that the server holds before they have ended.
UNFINISHED = WAITING + ENDING

pytestmark = pytest.mark.timeout(240 + ENDING // 20)


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    port = free_port()
    bounds = {
        "TASKBRIDGE_HEALTH_PORT": str(port),
        "TASKBRIDGE_CONNECTS_PER_SECOND": "10000",
        "TASKBRIDGE_JOURNAL_JOBS": str(ENDING // 2),
        "TASKBRIDGE_JOURNAL_UNFINISHED": str(UNFINISHED),
    }
    stack = Stack(tmp_path_factory.mktemp("waiting"), rabbitmq.new_vhost(), **bounds)
    stack.metrics = f"http://127.0.0.1:{port}/metrics"
    try:
        stack.start_server()
        stack.start_worker("--queues", "celery")
        yield stack
    finally:
        stack.stop()


def enqueue_slow(stack, count):
    enqueue = stack.bridge.enqueue
    return [enqueue("support.add", [1, 2], owner="me", queue="slow") for _ in range(count)]


def figure(stack, name):
    with urllib.request.urlopen(stack.metrics, timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_jobs_that_wait_stay_watchable_by_their_own_tokens_while_many_others_end(stack):
    waiting = enqueue_slow(stack, WAITING)
    for number in range(ENDING):
        stack.bridge.enqueue("support.add", [number, 0], owner="others")
    unfinished = "taskbridge_journal_unfinished "
    until(
        lambda: figure(stack, "taskbridge_events_read_total") >= 3 * ENDING,
        30 + ENDING / 25,
        "all to end",
    )
    until(lambda: figure(stack, unfinished) == WAITING, 30, "others to be ended")
    assert figure(stack, 'taskbridge_journal_evicted_total{state="ended"}') >= ENDING // 2
    for job in waiting:
        assert stack.bridge.status(job.id)["queued_at"], job
    assert figure(stack, "taskbridge_journal_jobs ") <= ENDING // 2


def test_a_job_that_never_was_is_not_found_by_a_server_that_has_read_everything(stack):
    with pytest.raises(JobNotFound):
        stack.bridge.status("00000000-0000-4000-8000-000000000000")


def test_a_job_that_waits_and_was_evicted_is_found_waiting_and_its_end_is_heard(stack):
    [first] = enqueue_slow(stack, 1)
    others = enqueue_slow(stack, UNFINISHED)
    evicted = 'taskbridge_journal_evicted_total{state="unfinished"}'
    until(lambda: figure(stack, evicted) > WAITING, 20, "jobs that wait to be evicted")
    found = stack.bridge.status(first.id)
    assert (found["state"], found["incomplete"], found["queued_at"]) == ("queued", True, None)
    watcher = stack.bridge.watch(first.id, timeout=60)
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(lambda: [event["type"] for event in watcher])
        until(lambda: figure(stack, "taskbridge_watches ") == 1, 30, "the job to be watched")
        stack.start_worker("--queues", "slow")
        assert told.result(60)[-1] == "succeeded"
    assert watcher.snapshot.encode()["result"] == 3
    ended = lambda: stack.bridge.status(others[-1].id)["state"] == "succeeded"  # noqa: E731
    until(ended, 90 + UNFINISHED / 25, "the others")
