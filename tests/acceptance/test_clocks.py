"""Hosts whose clocks are an hour ahead and an hour behind: each job ends as Celery says.

``make compatibility`` runs this with workers, and with a server, of version 0.1.0.
"""

from __future__ import annotations

import pytest

from support.mixed import CODE, MixedStack
from support.process import kill_all
from support.watched import Watched

pytestmark = pytest.mark.timeout(200)

#: Seconds by which the clocks of the workers are wrong that read the queues of these names.
SKEWS = {"ahead": "3600", "behind": "-3600"}


class Skewed(MixedStack):
    """A stack whose workers' clocks may be wrong."""

    def start_skewed(self, queue, skew):
        include = "support.tasks,support.skewed"
        return self.start_worker("-Q", queue, SKEW=skew, TASKBRIDGE_INCLUDE=include)


@pytest.fixture(scope="module")
def stack(rabbitmq, tmp_path_factory):
    """A server, and a worker for each queue."""
    stack = Skewed(tmp_path_factory.mktemp("clocks"), rabbitmq.new_vhost())
    try:
        stack.start_server()
        for queue, skew in SKEWS.items():
            stack.start_skewed(queue, skew)
        yield stack
    finally:
        stack.stop()


@pytest.mark.parametrize(
    ("queues", "end"),
    [
        (["behind", "ahead", "behind"], "fail"),
        (["ahead", "behind", "kill"], "done"),
        (["ahead", "kill", "behind", "kill"], "fail"),
    ],
)
def test_attempts_on_hosts_whose_clocks_differ_by_hours_end_as_celery_says(stack, queues, end):
    job = Watched(stack, "skewed.move", queues[1:], end, queue=queues[0])
    snapshot = job.end()
    state, celerys = ("failed", "FAILURE") if end == "fail" else ("succeeded", "SUCCESS")
    assert (snapshot["state"], job.types[-1]) == (state, state), job.types
    assert snapshot.get("result") == (end if end != "fail" else None)
    job.until_celery_says(celerys)
    assert snapshot["tasks"][0]["attempt"] == len(queues)
    assert not snapshot["incomplete"]
    # The retry after a death is stored while the pool forks the next process.
    assert CODE["worker"] or not any("is not stored" in one.output for one in stack.processes)


@pytest.mark.skipif(bool(CODE["server"]), reason="0.1.0 compares the clocks of two deliveries")
@pytest.mark.parametrize(("first", "second"), [("ahead", "behind"), ("behind", "ahead")])
def test_a_delivery_to_a_host_with_another_clock_ends_as_celery_says(stack, first, second):
    worker = stack.start_skewed("killed", SKEWS[first])
    job = Watched(stack, "support.linger", 3, queue="killed")
    job.pid()
    kill_all(worker)
    worker = stack.start_skewed("killed", SKEWS[second])
    snapshot = job.end()
    assert snapshot["state"] == "succeeded", job.types
    job.until_celery_says("SUCCESS")
    assert job.types.count("started") == snapshot["tasks"][0]["attempt"] == 2
    worker.kill()
