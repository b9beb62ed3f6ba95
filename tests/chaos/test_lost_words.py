"""A worker dies with all that it had to say about the tasks that a canvas ran after others."""

from __future__ import annotations

import pytest
from celery import chain, chord

from support.distance import Distance
from support.fleet import task
from support.process import kill_all
from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def distance(rabbitmq, tmp_path):
    limits = {"TASKBRIDGE_STALLED_AFTER": "1.5", "TASKBRIDGE_LOST_AFTER": "3"}
    distance = Distance(rabbitmq, tmp_path / "distance", **limits)
    try:
        yield distance
    finally:
        distance.stop()


@pytest.mark.parametrize("kind", ["chain", "chord"])
def test_the_job_ends_as_the_results_of_the_last_tasks_say(distance, tmp_path, kind):
    gate, ran = tmp_path / "gate", tmp_path / "ran"
    worker = distance.start_worker()
    held, last = task("held", str(gate)), task("note", str(ran), 0)
    follow = chain(last, last) if kind == "chain" else last
    canvas = chain(held, follow) if kind == "chain" else chord([held, held], follow)
    job = Watched(distance.stack, canvas)
    job.pid()
    distance.link.swallow()
    gate.touch()
    ends = 2 if kind == "chain" else 1
    until(lambda: ran.exists() and ran.read_text().count("ran") == ends, 30, "the last task")
    until(lambda: worker.output.count("Task support.note[") >= 2 * ends, 20, "its result")
    kill_all(worker)
    distance.link.heal()
    snapshot = job.end()
    assert snapshot["state"] == "succeeded", (snapshot, job.types)
    assert snapshot["done"] == snapshot["total"]
    assert snapshot["result"] == "done"
