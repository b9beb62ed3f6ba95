"""A chord whose task ends, and dies before it is counted, or amid the publishing of the body."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.wait import until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def stack(new_stack, rabbitmq, redis_server):
    # The ends that died with their process are looked for soon.
    soon = {"TASKBRIDGE_STALLED_AFTER": "3", "TASKBRIDGE_LOST_AFTER": "8"}
    results = {"TASKBRIDGE_RESULT_URL": redis_server.url}
    stack = new_stack(rabbitmq.new_vhost(), **results, **soon)
    stack.start_server()
    return stack


#: Enqueues the chord in a process of its own, as a service does, and prints the job's id.
SERVICE = """
import sys
from bridge import Bridge
from celery import chord

with Bridge() as bridge:
    dying, whom, claims, counted = sys.argv[1:]
    of = bridge.app.signature
    dies = of("support.dies_uncounted", [dying, whom, claims == "True"])
    header = [dies, of("support.add", [1, 1])]
    print(bridge.enqueue(chord(header, of("support.note_once", [counted])), owner="me").id)
"""


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
    command = [sys.executable, "-c", SERVICE, dying, whom, str(claims), counted]
    done = subprocess.run(command, env=stack.env, check=True, text=True, stdout=subprocess.PIPE)
    watcher = stack.bridge.watch(done.stdout.strip(), timeout=60)
    until(dying.exists, 30, "a task to end and die")
    if whom == "worker":
        worker.wait(30)
        stack.start_worker()
    assert list(watcher)
    snapshot = watcher.snapshot.encode()
    assert (snapshot["state"], snapshot["result"]) == ("succeeded", 3)
    assert [task["state"] for task in snapshot["tasks"]] == ["succeeded"] * 3
    assert counted.read_text() == "ran\n"
    assert not snapshot["incomplete"]
