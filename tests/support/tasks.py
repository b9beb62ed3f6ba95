"""Tasks for the tests, loaded by their workers through TASKBRIDGE_INCLUDE."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from celery import shared_task

from bridge import job, progress


@shared_task(name="support.add")
def add(x: int, y: int) -> int:
    return x + y


@shared_task(name="support.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task(name="support.talk")
def talk(lines: int) -> int:
    for number in progress(range(lines), desc="lines"):
        job.log(f"line {number}")
        job.output(f"{number}\n")
    return lines


@shared_task(name="support.work")
def work(seconds: float, cleanup: str | None = None) -> str:
    """Move a bar for some seconds; write a file in ``finally``."""
    try:
        for _ in progress(range(int(seconds * 100)), desc="work"):
            time.sleep(0.01)
    finally:
        if cleanup:
            Path(cleanup).write_text("cleaned up")
    return "done"


@shared_task(name="support.stuck")
def stuck(seconds: float) -> None:
    """Never look at the job or a bar, so that only a signal ends it."""
    time.sleep(seconds)


@shared_task(name="support.die")
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="support.fail")
def fail() -> None:
    raise ValueError("this was bound to fail")


@shared_task(name="support.retry_once", bind=True)
def retry_once(self) -> int:  # type: ignore[no-untyped-def]
    if self.request.retries == 0:
        raise self.retry(exc=ValueError("not yet"), countdown=0.2, max_retries=3)
    return self.request.retries


@shared_task(name="support.spawn")
def spawn() -> None:
    add.delay(2, 2)


@shared_task(name="support.unjsonable")
def unjsonable() -> float:
    return float("nan")
