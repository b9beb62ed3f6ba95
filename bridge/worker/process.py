"""What each worker that ``taskbridge`` starts has: a name of its own, safe logs, tracing."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from typing import NoReturn

from celery import signals

from bridge import tracing
from bridge.errors import TaskbridgeError
from bridge.printable import SafeFormatter
from bridge.settings import Settings
from bridge.untyped import CeleryWorker

__all__ = ["end", "prepare"]

logger = logging.getLogger(__name__)


def end(told: object, status: int) -> NoReturn:
    """Print a sentence and end the process: of an exception, Celery would print a traceback."""
    sys.stderr.write(f"taskbridge: {told}\n")
    sys.stderr.flush()
    os._exit(status)


def prepare(settings: Settings) -> None:
    """Connect to Celery's signals of a worker.

    Args:
        settings: settings of the process.
    """

    def trace(**_: object) -> None:
        # In the parent: OpenTelemetry itself starts its threads again in forked children.
        try:
            tracing.start(settings, "taskbridge-worker")
        except TaskbridgeError as error:
            end(error, 2)

    def send_spans(**_: object) -> None:
        # A pool process ends without running its exit handlers.
        if settings.tracing:
            from opentelemetry import trace

            trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined]

    for signal, handler in (
        (signals.celeryd_init, _name_node),
        (signals.after_setup_logger, _make_logs_safe),
        (signals.after_setup_task_logger, _make_logs_safe),
        (signals.worker_init, trace),
        (signals.worker_process_shutdown, send_spans),
    ):
        signal.connect(handler, weak=False)


def _name_node(
    sender: str | None = None, instance: CeleryWorker | None = None, **_: object
) -> None:
    # A new suffix for each start: two workers of one name would compete for one control queue.
    if instance is not None and sender and sender.startswith("celery@"):
        name = f"taskbridge-{uuid.uuid4().hex[:8]}@"
        instance.hostname = sender.replace("celery@", name, 1)


def _make_logs_safe(logger: logging.Logger, **_: object) -> None:
    # Celery logs arguments, results and errors, which may contain text from clients.
    for handler in logger.handlers:
        if not isinstance(handler.formatter, SafeFormatter):
            handler.setFormatter(SafeFormatter(handler.formatter or logging.Formatter()))
