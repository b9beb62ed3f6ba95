"""What one call of existing code starts is one job, which ends as Celery's result does."""

from __future__ import annotations

import contextlib

import pytest
from celery import chain, chord, group, signals

from support.wait import until


@pytest.fixture(params=["rabbitmq", pytest.param("embedded", marks=pytest.mark.long)])
def stack(request, stacks):
    """A server and a worker on each broker in turn."""
    return stacks(request.param)


def add(stack, *args, **options):
    return stack.bridge.app.signature("support.add", args=args or (1, 1), options=options)


def first(stack):
    return stack.bridge.app.signature("support.add", args=(1, 1), immutable=True)


def total(stack):
    return stack.bridge.app.signature("support.total")


def replaced(stack, kind="chain"):
    return stack.bridge.app.signature("support.replace", args=[kind], immutable=True)


def several(stack, amount=3):
    return [add(stack) for _ in range(amount)]


def linked(one, callback):
    one.link(callback)
    return one


@contextlib.contextmanager
def published():
    """Collect the ids of the jobs that messages are published for, in the order of publishing."""
    jobs = []

    def seen(sender, headers, **_):
        jobs.append(headers["root_id"])

    signals.after_task_publish.connect(seen)
    try:
        yield jobs
    finally:
        signals.after_task_publish.disconnect(seen)


def one_job(stack, canvas):
    """Apply a canvas as existing code does, and return the id of the only job it becomes."""
    with published() as jobs, stack.bridge.owner("someone"):
        canvas.apply_async()
    [job] = set(jobs)
    return job


def ended(stack, job):
    """Return the server's snapshot of a job that has ended."""
    watcher = stack.bridge.watch(job, timeout=30)
    assert list(watcher)

    def settled():
        found = stack.bridge.status(job)
        return found if found["state"] != "running" and found["done"] == found["total"] else None

    return until(settled, 30, "all tasks to end")


SHAPES = {
    "group": (lambda s: group(several(s)), 3),
    "chord": (lambda s: chord(several(s), total(s)), 4),
    "chord over a generator": (lambda s: chord((add(s) for _ in range(3)), total(s)), 4),
    "group over a generator": (lambda s: group(add(s) for _ in range(3)), 3),
    "chord without a header": (lambda s: chord([], total(s)), 1),
    "group and then a chain": (lambda s: group(several(s)) | total(s) | add(s, 1), 5),
    "group of chords": (lambda s: group(chord(several(s, 2), total(s)) for _ in range(2)), 6),
    "chord of chords": (
        lambda s: chord([chord(several(s, 2), total(s)) for _ in range(2)], total(s)),
        7,
    ),
    "chord of groups": (lambda s: chord([group(several(s, 2))], total(s)), 3),
    "group of chains": (lambda s: group(chain(add(s), add(s, 1)) for _ in range(2)), 4),
    "chord whose body is a group": (
        lambda s: chord(several(s, 2), group(first(s), first(s))),
        4,
    ),
    "chord of a replaced task": (lambda s: chord([replaced(s), add(s)], total(s)), 5),
    "replaced under a callback": (lambda s: group(linked(replaced(s), first(s)), first(s)), 5),
    "chain of a replaced task under a callback": (
        lambda s: chain(linked(replaced(s), first(s)), first(s)),
        5,
    ),
    "starmap": (lambda s: s.bridge.app.tasks["celery.starmap"].s(add(s), [(1, 1)]), 1),
}


@pytest.mark.parametrize(("canvas", "tasks"), SHAPES.values(), ids=SHAPES)
def test_one_call_of_existing_code_is_one_job(stack, canvas, tasks):
    snapshot = ended(stack, one_job(stack, canvas(stack)))
    assert (snapshot["state"], snapshot["done"]) == ("succeeded", tasks)


@pytest.mark.parametrize(
    "shape",
    ["chord over a generator", "group over a generator", "replaced under a callback"],
)
def test_a_bridge_counts_the_same_tasks(stack, shape):
    canvas, tasks = SHAPES[shape]
    snapshot = ended(stack, stack.bridge.enqueue(canvas(stack), owner="someone").id)
    assert (snapshot["state"], snapshot["done"]) == ("succeeded", tasks)


@pytest.mark.parametrize("enqueued", [False, True], ids=["existing code", "enqueue"])
def test_a_generator_is_read_while_its_tasks_are_published(stack, enqueued):
    with published() as jobs:

        def generated():
            yield from several(stack, 8)
            assert jobs, "a generator may depend on what has been published"

        canvas = group(generated())
        if enqueued:
            job = stack.bridge.enqueue(canvas, owner="someone").id
        else:
            with stack.bridge.owner("someone"):
                canvas.apply_async()
            job = jobs[0]
    snapshot = ended(stack, job)
    assert (snapshot["state"], snapshot["done"]) == ("succeeded", 8)


@pytest.mark.parametrize("canvas", [group, chain], ids=["group", "chain"])
def test_an_empty_canvas_is_a_job_that_has_succeeded(stack, canvas):
    snapshot = ended(stack, stack.bridge.enqueue(canvas([]), owner="someone").id)
    assert (snapshot["state"], snapshot["result"]) == ("succeeded", [])


def test_two_calls_are_two_jobs(stack):
    with published() as jobs, stack.bridge.owner("someone"):
        for _ in range(2):
            group(several(stack, 2)).apply_async()
        for _ in range(2):
            add(stack).apply_async()
    assert len(set(jobs)) == 4
    for job in set(jobs):
        assert ended(stack, job)["state"] == "succeeded"


def test_a_job_of_which_not_all_could_be_published_fails(stack):
    def generated():
        yield from several(stack, 2)
        raise ValueError("there is no third")

    with published() as jobs, stack.bridge.owner("someone"), pytest.raises(ValueError, match="no"):
        group(generated()).apply_async()
    snapshot = until(
        lambda: (found := stack.bridge.status(jobs[0]))["state"] == "failed" and found,
        20,
        "the job to fail",
    )
    assert snapshot["error"]["message"] == "there is no third"
