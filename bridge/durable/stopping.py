"""Forced exit of a worker whose cold shutdown does not end in time.

Celery's cold shutdown may wait for ever: for a task that was received a moment before, or for a
pool process that does not react. Meanwhile it holds messages that another worker could run.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from contextlib import suppress
from types import FrameType

from celery import signals

from bridge.untyped import CeleryConsumer

__all__ = ["install"]

logger = logging.getLogger(__name__)

#: Seconds, after the grace, that Celery's own shutdown may take. With a grace of a second, a worker
#: is gone before containers lose their patience: ten seconds after SIGTERM.
PATIENCE = 8.0


def install(grace: float) -> None:
    """Make workers of this process exit ``PATIENCE`` seconds after the grace at the latest.

    SIGTERM stops a worker as SIGQUIT does: with Celery's own handler of SIGTERM it would wait for
    its tasks without a limit, until what sent the signal kills it.

    Args:
        grace: seconds that running jobs are given to end.
    """

    def arm(sender: CeleryConsumer, **_: object) -> None:
        # Not in a thread of a test, nor on Windows.
        if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGQUIT"):
            _wrap(signal.SIGQUIT, sender, grace + PATIENCE)
            signal.signal(signal.SIGTERM, _quit)

    signals.worker_ready.connect(arm, weak=False, dispatch_uid="taskbridge.stopping")


def _quit(_: int, frame: FrameType | None) -> None:
    """Handle SIGTERM as SIGQUIT; Celery gives that another handler once the worker stops."""
    if callable(handle := signal.getsignal(signal.SIGQUIT)):
        handle(signal.SIGQUIT, frame)


def _wrap(number: int, consumer: CeleryConsumer, seconds: float) -> None:
    handle = signal.getsignal(number)

    def stop(received: int, frame: FrameType | None) -> None:
        timer = threading.Timer(seconds, _end, [consumer, seconds])
        timer.daemon = True
        timer.start()
        if callable(handle):
            handle(received, frame)

    signal.signal(number, stop)


def _end(consumer: CeleryConsumer, seconds: float) -> None:
    """Kill the pool processes, hand back the tasks, and exit."""
    logger.error("taskbridge: the worker did not stop within %g s: it ends now", seconds)
    for pid in getattr(consumer.pool, "info", {}).get("processes", ()):
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    with suppress(Exception):  # whatever the broker's library raises: the exit is what counts
        _hand_back(consumer)
    os._exit(1)


def _hand_back(consumer: CeleryConsumer) -> None:
    """Return unacknowledged messages: RabbitMQ does so when the connection ends, Redis does not."""
    qos = getattr(consumer.task_consumer.channel, "qos", None)
    if (restore := getattr(qos, "restore_unacked", None)) is not None:
        restore()
