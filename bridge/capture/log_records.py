"""Records of :mod:`logging`."""

from __future__ import annotations

import logging
import traceback

from bridge.reporting import current_job
from bridge.reporting.current_job import cut_line

__all__ = ["attach"]

#: Loggers whose records are about how a job is run, and not from it. Those that
#: ``get_task_logger`` returns go by the name that the task gave them.
NOT_THE_JOBS = frozenset({"amqp", "billiard", "bridge", "celery", "engineio", "kombu", "socketio"})


class Handler(logging.Handler):
    """Hands records to the emitter of the job in whose context they were made."""

    show_tracebacks = False

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record to those who watch; never fails, and never stops a cancelled job."""
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
        # As with a failed job, only its class and message leave the worker.
        lines = traceback.format_exception_only(error)
        if self.show_tracebacks:
            lines = traceback.format_exception(error)
        return "\n" + "".join(lines).rstrip()


_handler = Handler()


def attach(level: int, *, show_tracebacks: bool) -> None:
    """Listen on the root logger, if not done.

    Args:
        level: records below it are left out. What a logger's own level suppresses is never made.
        show_tracebacks: whether a record's traceback is shown, or only its last line.
    """
    _handler.setLevel(level)
    _handler.show_tracebacks = show_tracebacks
    if _handler not in logging.root.handlers:
        logging.root.addHandler(_handler)
