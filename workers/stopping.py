"""Forced exit of a worker whose cold shutdown does not end in time.

Celery's cold shutdown may wait for ever: for a task that was received a moment before, or for a
pool process that does not react. Meanwhile it holds messages that another worker could run.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from types import FrameType

from celery import signals
from celery.apps.worker import REMAP_SIGTERM

from bridge.untyped import CeleryPool, CeleryWorker

__all__ = ["install"]

logger = logging.getLogger(__name__)

#: Seconds, after the grace, that Celery's own shutdown may take.
PATIENCE = 10.0


def install(grace: float) -> None:
    """Make workers of this process exit ``PATIENCE`` seconds after the grace at the latest.

    The time runs from SIGQUIT, or from SIGTERM where Celery maps it to SIGQUIT.

    Args:
        grace: seconds that running jobs are given to end.
    """

    def arm(sender: CeleryWorker, **_: object) -> None:
        for name in ("SIGQUIT", *(["SIGTERM"] if REMAP_SIGTERM == "SIGQUIT" else [])):
            if (number := getattr(signal, name, None)) is not None:
                _wrap(number, sender.pool, grace + PATIENCE)

    signals.worker_ready.connect(arm, weak=False, dispatch_uid="taskbridge.stopping")


def _wrap(number: int, pool: CeleryPool, seconds: float) -> None:
    handle = signal.getsignal(number)

    def stop(received: int, frame: FrameType | None) -> None:
        timer = threading.Timer(seconds, _end, [pool, seconds])
        timer.daemon = True
        timer.start()
        if callable(handle):
            handle(received, frame)

    signal.signal(number, stop)


def _end(pool: CeleryPool, seconds: float) -> None:
    """Kill the pool processes and exit; the broker redelivers what was not acknowledged."""
    logger.error("taskbridge: the worker did not stop within %g s: it ends now", seconds)
    for pid in getattr(pool, "info", {}).get("processes", ()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
    os._exit(1)
