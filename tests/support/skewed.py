"""What a worker loads through TASKBRIDGE_INCLUDE whose clock is to be wrong, by SKEW seconds."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

from celery import shared_task

from bridge import job

SKEW = float(os.environ.get("SKEW", "0"))
# Not Celery's own: where a clock is ahead, what it tries again later waits for as long elsewhere.
time.time = partial(lambda read: read() + SKEW, time.time)
time.time_ns = partial(lambda read: read() + int(SKEW * 1e9), time.time_ns)


@shared_task(name="skewed.move", bind=True, default_retry_delay=1)
def move(self, queues: list[str], end: str) -> str:  # type: ignore[no-untyped-def]
    """Be tried again in one queue after another (``kill``: by a death in the same), then end.

    Args:
        queues: where the next attempts are.
        end: ``fail``, or what it returns.
    """
    attempt = self.request.retries
    job.log(f"attempt {attempt + 1}, skew {SKEW:g} s")
    if attempt < len(queues):
        if queues[attempt] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise self.retry(exc=ValueError("not here"), countdown=0, queue=queues[attempt])
    if end == "fail":
        raise ValueError("as it was told to")
    return end
