"""A canvas is one job: all its tasks are counted from the beginning, and it ends with the last."""

from __future__ import annotations

import pytest
from celery import chain, chord, group, signature

from support.wait import until
from support.watched import Watched

ONE = signature("support.add", args=[1, 1], immutable=True)
SUM = signature("support.total")


def spawn(kind):
    return signature("support.spawn_canvas", args=[kind], immutable=True)


def replaced(kind):
    return signature("support.replace", args=[kind], immutable=True)


def totals(job):
    """Return how many tasks the job was said to have, in the order in which that was told."""
    told = []
    for event in job.events:
        job.told.append(event)
        if job.watcher.snapshot.total not in told:
            told.append(job.watcher.snapshot.total)
    return told


def settled(stack, job):
    """Return the server's snapshot once no task of the job goes on."""

    def idle():
        snapshot = stack.bridge.status(job.id)
        return snapshot if snapshot["done"] == snapshot["total"] else None

    return until(idle, 30, "all tasks to end")


@pytest.mark.parametrize(
    ("canvas", "tasks"),
    [
        (lambda: chain(ONE, ONE, ONE), 3),
        (lambda: chord([ONE, ONE, ONE], SUM), 4),
        (lambda: chain(ONE, group(ONE, ONE), SUM), 4),
        (lambda: chain(ONE, chord([ONE, chain(ONE, ONE)], SUM), ONE), 6),
        (lambda: chord([group(ONE, ONE), ONE], ONE), 4),
        (lambda: group(chain(ONE, ONE), chord([ONE, ONE], SUM)), 5),
    ],
    ids=["chain", "chord", "chain of a group", "chain of a chord", "chord of a group", "group"],
)
def test_what_was_planned_is_counted_from_the_beginning(stack, canvas, tasks):
    job = Watched(stack, canvas())
    assert totals(job) == [tasks]
    snapshot = settled(stack, job)
    assert (snapshot["state"], snapshot["done"]) == ("succeeded", tasks)
    assert (snapshot["planned"], snapshot["spawned"]) == (tasks, 0)


@pytest.mark.parametrize(
    ("kind", "more"), [("tasks", 3), ("chain", 3), ("chord", 3), ("linked", 3)]
)
def test_what_a_task_starts_is_counted_before_it_runs(stack, kind, more):
    job = Watched(stack, chain(spawn(kind), ONE))
    assert totals(job)[-1] == 2 + more
    snapshot = settled(stack, job)
    assert (snapshot["state"], snapshot["total"]) == ("succeeded", 2 + more)
    assert (snapshot["planned"], snapshot["spawned"]) == (2, more)


@pytest.mark.parametrize(("kind", "tasks"), [("task", 2), ("chain", 4), ("group", 4)])
def test_a_task_that_puts_others_into_its_place_ends_with_them(stack, kind, tasks):
    job = Watched(stack, chain(replaced(kind), ONE))
    job.end()
    snapshot = settled(stack, job)
    assert (snapshot["state"], snapshot["total"]) == ("succeeded", tasks)


def test_existing_code_that_enqueues_a_chain_makes_one_job(stack):
    with stack.bridge.owner("someone"):
        one = stack.bridge.app.signature("support.add", args=[1, 1], immutable=True)
        result = chain(one, one, one).apply_async()
    job = root_of(result)
    watcher = stack.bridge.watch(job, timeout=30)
    assert list(watcher)
    assert watcher.snapshot.total == watcher.snapshot.done == 3


def root_of(result):
    while result.parent is not None:
        result = result.parent
    return result.id


def test_a_job_fails_as_soon_as_it_can_no_longer_succeed(stack):
    fail = signature("support.fail", immutable=True)
    slow = signature("support.work", args=[3], immutable=True)
    job = Watched(stack, group(fail, slow))
    snapshot = job.end()
    assert (snapshot["state"], snapshot["done"], snapshot["total"]) == ("failed", 1, 2)
    assert snapshot["error"]["class"] == "ValueError"
    states = [task["state"] for task in settled(stack, job)["tasks"]]
    assert sorted(states) == ["failed", "succeeded"]
