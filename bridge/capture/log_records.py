"""Capture of :mod:`logging` records as log lines of a job."""

from __future__ import annotations

import logging
import traceback

from bridge.reporting import current_job
from bridge.reporting.current_job import cut_line

__all__ = ["attach"]

#: Top-level loggers whose records are about how a job is run, and not from the job. A logger of
#: ``get_task_logger`` has the name that the task gave it, and is captured.
NOT_THE_JOBS = frozenset({"amqp", "billiard", "bridge", "celery", "engineio", "kombu", "socketio"})


class Handler(logging.Handler):
    """Passes records to the reporter of the job in whose context they were made."""

    show_tracebacks = False

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record as a log line; never raises, not even ``JobCancelled``."""
        place = current_job.here()
        if place is None or "logging" not in place[0].capture:
            return
        if record.name.partition(".")[0] in NOT_THE_JOBS:
            return
        run, emitter = place
        try:
            text = record.getMessage() + self._cause(record)
        except Exception:  # noqa: BLE001 - wrong arguments of somebody's log call
            text = str(record.msg)
        emitter.put_line(run, "log", cut_line(text), record.levelname, record.created)

    def _cause(self, record: logging.LogRecord) -> str:
        if not record.exc_info or record.exc_info[1] is None:
            return ""
        error = record.exc_info[1]
        # As with a failed job, only its class and message leave the worker by default.
        lines = traceback.format_exception_only(error)
        if self.show_tracebacks:
            lines = traceback.format_exception(error)
        return "\n" + "".join(lines).rstrip()


_handler = Handler()


def attach(level: int, *, show_tracebacks: bool) -> None:
    """Add the handler to the root logger, if it is not there.

    Args:
        level: lowest level that is captured. A logger's own level suppresses records before that.
        show_tracebacks: whether a record's traceback is sent, or only the error's class and
            message.
    """
    _handler.setLevel(level)
    _handler.show_tracebacks = show_tracebacks
    if _handler not in logging.root.handlers:
        logging.root.addHandler(_handler)
