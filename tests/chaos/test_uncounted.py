"""A chord whose task ends, and dies before it is counted, or amid the publishing of the body."""

from __future__ import annotations

import pytest
from celery import chord

from support.wait import until
from support.watched import Watched

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def stack(new_stack, rabbitmq, redis_server):
    # The ends that died with their process are looked for soon.
    soon = {"TASKBRIDGE_STALLED_AFTER": "3", "TASKBRIDGE_LOST_AFTER": "8"}
    results = {"TASKBRIDGE_RESULT_URL": redis_server.url}
    stack = new_stack(rabbitmq.new_vhost(), **results, **soon)
    stack.start_server()
    return stack


@pytest.mark.parametrize(
    "claims",
    # A claim has to expire first.
    [False, pytest.param(True, marks=pytest.mark.long)],
    ids=["uncounted", "claims"],
)
@pytest.mark.parametrize("whom", ["process", "worker"])
def test_its_body_runs_once_whatever_dies(stack, tmp_path, whom, claims):
    worker = stack.start_worker()
    dying, counted = tmp_path / "dying", tmp_path / "counted"
    signature = stack.bridge.app.signature
    header = [
        signature("support.dies_uncounted", [str(dying), whom, claims]),
        signature("support.add", [1, 1]),
    ]
    body = signature("support.note_once", [str(counted)])
    job = Watched(stack, chord(header, body))
    until(dying.exists, 30, "a task to end and die")
    if whom == "worker":
        worker.wait(30)
        stack.start_worker()
    snapshot = job.end()
    assert (snapshot["state"], snapshot["result"]) == ("succeeded", 3)
    assert [task["state"] for task in snapshot["tasks"]] == ["succeeded"] * 3
    assert counted.read_text() == "ran\n"
    assert not snapshot["incomplete"]
