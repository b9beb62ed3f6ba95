"""A canvas of many tasks, watched in a real Chromium."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from support.stack import Stack

#: Tasks of the chord's header; 10,000 at length.
TASKS = int(os.environ.get("CANVAS_TASKS", "300"))
#: Seconds until all have ended.
PATIENCE = 60 + TASKS / 20

SERVICE = """
import sys
from celery import chord
from bridge import Bridge

with Bridge() as bridge:
    add = bridge.app.signature("support.add", [1, 2])
    total = bridge.app.signature("support.total")
    header = [add.clone() for _ in range(int(sys.argv[1]))]
    print(bridge.enqueue(chord(header, total), owner="me").id)
"""

pytestmark = pytest.mark.timeout(60 + 2 * PATIENCE)


@pytest.fixture
def stack(rabbitmq, redis_server, tmp_path):
    results = {"TASKBRIDGE_RESULT_URL": redis_server.url, "TASKBRIDGE_ARGUMENT_BYTES": str(2**23)}
    stack = Stack(tmp_path, rabbitmq.new_vhost(), **results)
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


def enqueue(stack):
    """Enqueue it as a service does, in a process of its own; return the job's id."""
    command = [sys.executable, "-c", SERVICE, str(TASKS)]
    return subprocess.run(
        command, env=stack.env, check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()


def test_a_chord_of_many_tasks_is_watched_to_its_end_and_nothing_is_lost_of_it(stack, page):
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{stack.url}/#token={stack.token(owner='me')}")
    expect(page.locator("#connection")).to_have_text("Live")
    job = enqueue(stack)
    card = page.locator(f'.job[data-job="{job}"]')
    expect(card).to_have_attribute("data-state", "queued", timeout=30_000)
    card.get_by_text("Tasks (").click()
    expect(card.locator(".task-list li")).to_have_text(
        ["100 × addqueued", f"and {TASKS + 1 - 100:,} more"]
    )
    stack.start_worker()
    page.reload()  # midway, which must not look as if anything was lost
    expect(card).to_have_attribute("data-state", "succeeded", timeout=1000 * PATIENCE)
    expect(card).to_contain_text(f"{TASKS + 1:,}")
    expect(card.locator(".note")).to_have_count(0)
    found = stack.bridge.status(job)
    assert (found["done"], found["total"], found["result"]) == (TASKS + 1, TASKS + 1, 3 * TASKS)
    assert (found["incomplete"], faults) == (False, [])
