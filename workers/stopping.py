"""A worker that was asked to stop does stop.

Celery's cold shutdown may wait for ever: for a task that it had only just taken, or for a process
that does not react. As long as it waits, it holds messages that another worker could run.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import Any

from celery import signals
from celery.apps.worker import REMAP_SIGTERM

__all__ = ["install"]

logger = logging.getLogger(__name__)

#: Seconds after the grace that an orderly end may take.
PATIENCE = 10.0


def install(grace: float) -> None:
    """See to it that workers of this process end within a time once they are to stop at once.

    Args:
        grace: seconds that running jobs are given.
    """

    def arm(sender: Any, **_: Any) -> None:
        for name in ("SIGQUIT", *(["SIGTERM"] if REMAP_SIGTERM == "SIGQUIT" else [])):
            if (number := getattr(signal, name, None)) is not None:
                _wrap(number, sender.pool, grace + PATIENCE)

    signals.worker_ready.connect(arm, weak=False, dispatch_uid="taskbridge.stopping")


def _wrap(number: int, pool: Any, seconds: float) -> None:
    handle = signal.getsignal(number)

    def stop(*arguments: Any) -> None:
        timer = threading.Timer(seconds, _end, [pool, seconds])
        timer.daemon = True
        timer.start()
        if callable(handle):
            handle(*arguments)

    signal.signal(number, stop)


def _end(pool: Any, seconds: float) -> None:
    """End this process and those of its pool; the broker delivers again what they had taken."""
    logger.error("taskbridge: the worker did not stop within %g s: it ends now", seconds)
    for pid in getattr(pool, "info", {}).get("processes", ()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue
    os._exit(1)
