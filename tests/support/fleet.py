"""Jobs of many kinds, and what has to be true of them once they have ended."""

from __future__ import annotations

import random
from typing import Any

from celery import chain, chord, signature

from bridge.protocol.event import TERMINAL
from support.owner_client import OwnerClient
from support.stack import Stack
from support.wait import until

__all__ = ["assert_as_celery_says", "await_ends", "some_job"]

#: Our names of what Celery says once it is final; a task that raises JobCancelled is a failure to
#: Celery, and so is one whose process died.
ENDS = {
    "SUCCESS": {"succeeded"},
    "FAILURE": {"failed", "lost", "cancelled"},
    "REVOKED": {"cancelled"},
}


def task(name: str, *args: Any, **options: Any) -> Any:
    """Return a signature of one of the tests' tasks."""
    return signature(f"support.{name}", args=args, options=options, immutable=True)


def some_job(chance: random.Random) -> Any:
    """Return a task, or a canvas, of one of many kinds.

    Of a task that is acknowledged early nothing is left if its worker dies before it could publish
    that it has begun; the task is lost after twice ``TASKBRIDGE_LOST_AFTER``.

    Args:
        chance: decides which.
    """
    seconds = chance.uniform(0.2, 6)
    kinds = [
        lambda: task("linger", seconds),
        lambda: task("linger_early", seconds),
        lambda: task("linger_once", seconds),
        lambda: task("work", seconds),
        lambda: task("linger", 30, soft_time_limit=2),
        lambda: task("linger", 30, time_limit=2),
        lambda: task("fail"),
        lambda: task("retry_once"),
        lambda: task("die"),
        lambda: chain(task("work", 1), task("linger", 1)),
        lambda: chord([task("work", 1) for _ in range(4)], task("add", 1, 1)),
    ]
    return chance.choice(kinds)()


def await_ends(client: OwnerClient, jobs: list[str], patience: float, what: str) -> None:
    """Wait until a client knows the end of each job; say which go on if that takes too long.

    Args:
        client: of their owner.
        jobs: their ids.
        patience: seconds.
        what: was done to them.
    """

    def going_on() -> dict[str, str | None]:
        return {job: client.state(job) for job in jobs if client.state(job) not in TERMINAL}

    try:
        until(lambda: not going_on(), patience, "all jobs to end", interval=0.5)
    except AssertionError:
        left = {job: (state, client.found(job)) for job, state in going_on().items()}
        raise AssertionError(f"{len(left)} go on: {left}\n{what}") from None


def assert_as_celery_says(
    stack: Stack, client: OwnerClient, jobs: list[str], revoked: list[str]
) -> None:
    """Raise unless each job has ended as Celery's result of it says.

    Args:
        stack: where they ran.
        client: of their owner.
        jobs: their ids.
        revoked: ids of those that were revoked by Celery's own command.
    """
    # A canvas has no result of its own id; of its tasks those that failed first decide.
    for job in jobs:
        state = stack.bridge.app.AsyncResult(job).state
        # Of a task that Celery's own command revokes as it begins, each worker stores that it was,
        # at its own time; one that runs to its end all the same has both ends.
        if state in ENDS and not (state == "REVOKED" and job in revoked):
            assert client.state(job) in ENDS[state], (job, state, client.jobs[job].encode())
        *before, last = client.ends.get(job, [None])  # what it missed, its snapshots tell
        for end in before:
            # A worker that dies before its acknowledgement is out has the job run once more. A
            # server that starts concludes again what another had concluded from stored results,
            # and gets an event again that a broker delivered and lost before it confirmed it.
            again = last.type == end.type and (last.verdict or last.order == end.order)
            assert end.verdict or again or end.run < last.run, (job, end, last)
