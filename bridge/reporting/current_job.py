"""The current job: what a task reports about itself beyond its bars."""

from __future__ import annotations

import json
import logging
import threading
from contextvars import ContextVar
from typing import Any

from bridge.protocol.event import MAX_LOG_BYTES, MAX_META_BYTES, finite_json
from bridge.protocol.nesting import shallow_json
from bridge.reporting.reporter import Reporter
from bridge.reporting.task_run import Run

__all__ = ["CurrentJob", "enter", "here", "job", "leave", "leave_all", "running"]

logger = logging.getLogger(__name__)

#: Longest chunk of output, in characters: as JSON, at up to 12 bytes each, it must fit an event.
MAX_CHUNK = 4096
#: Longest chunk of bytes: as base64, it must fit an event.
MAX_BYTES_CHUNK = 32 * 1024

#: A run, and who takes what it reports.
Here = tuple[Run, Reporter]

_current: ContextVar[Here | None] = ContextVar("taskbridge_run", default=None)
_running: dict[str, Here] = {}
#: The run of the process's main thread, if one is there.
_of_main_thread: list[Here] = []


def enter(run: Run, emitter: Reporter) -> None:
    """Make ``run`` the current one of this thread or greenlet."""
    _running[run.task] = here = (run, emitter)
    _current.set(here)
    if threading.current_thread() is threading.main_thread():
        _of_main_thread[:] = [here]


def leave(task: str) -> Here | None:
    """Make the run of ``task`` current no more, and return it; None if it was not."""
    here = _running.pop(task, None)
    # Celery also tells of the end of what a task called in place, which was never entered.
    if here is not None and _current.get() is here:
        _current.set(None)
    if here in _of_main_thread:
        _of_main_thread.clear()
    return here


def leave_all() -> None:
    """Forget all runs, as a forked child has to."""
    _running.clear()
    _of_main_thread.clear()
    _current.set(None)


def running(task: str) -> Here | None:
    """Return the run of ``task`` in this process, with its emitter."""
    return _running.get(task)


def here() -> Here | None:
    """Return the run that the calling code belongs to; None if it is none's, or in doubt."""
    here = _current.get()
    if here is None and len(_running) == 1 and _of_main_thread:
        # A thread that the task started has no context of its own. Where jobs run in the main
        # thread (prefork, solo) there is one at a time, and no doubt whose thread it is.
        return _of_main_thread[0]
    return here


class CurrentJob:
    """The job that runs here, as a task sees it. Outside a job every call does nothing."""

    @property
    def id(self) -> str | None:
        """Id of the job; None outside one."""
        return place[0].job if (place := here()) else None

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled the job."""
        return bool((place := here()) and place[0].cancelled)

    def raise_if_cancelled(self) -> None:
        """Stop here if somebody cancelled the job.

        Raises:
            JobCancelled: somebody did.
        """
        if place := here():
            place[0].check()

    def log(self, message: object, level: str | int = "INFO") -> None:
        """Show a line to those who watch.

        Args:
            message: text, cut at 8 KiB.
            level: a level of :mod:`logging`, by name or number.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        if place := here():
            run, emitter = place
            run.check()
            name = logging.getLevelName(level) if isinstance(level, int) else level.upper()
            emitter.put_line(run, "log", cut_line(str(message)), name)

    def output(self, chunk: str | bytes) -> None:
        """Show a piece of the job's output, in order, as it is.

        Args:
            chunk: text, or bytes, which travel as base64; of any length.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        if place := here():
            run, emitter = place
            run.check()
            put_output(run, emitter, chunk)

    def set_meta(self, **values: Any) -> None:
        """Show facts about the job: the newest of each name is what those who watch see.

        Args:
            values: JSON values; None takes a name away. What is not JSON is shown as its text.
                All together may take 4 KiB of JSON; what would take more is left out, and the
                worker's log says so.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        if place := here():
            run, _ = place
            run.check()
            meta = {name: value for name, value in (run.meta | values).items() if value is not None}
            run.meta = _fitting({name: _json(value) for name, value in meta.items()})


def put_output(run: Run, emitter: Reporter, chunk: str | bytes) -> None:
    """Hand over a chunk of output in pieces that each fit an event."""
    most = MAX_CHUNK if isinstance(chunk, str) else MAX_BYTES_CHUNK
    if not isinstance(chunk, str):
        chunk = bytes(chunk)
    for start in range(0, len(chunk), most):
        emitter.put_line(run, "output", chunk[start : start + most])


def cut_line(text: str) -> str:
    """Return text, shortened if need be to what a log line may take."""
    if len(text) * 4 <= MAX_LOG_BYTES:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= MAX_LOG_BYTES else data[:MAX_LOG_BYTES].decode("utf-8", "ignore")


def _json(value: Any) -> Any:
    try:
        return json.loads(shallow_json(value))  # a copy: the task may go on to change its own
    except (TypeError, ValueError):
        try:
            return str(value)
        except Exception:  # noqa: BLE001 - anybody's __str__
            return f"<{type(value).__name__}>"


def _fitting(meta: dict[str, Any]) -> dict[str, Any]:
    while len(finite_json(meta)) > MAX_META_BYTES:
        largest = max(meta, key=lambda name: len(finite_json(meta[name])))
        logger.warning("taskbridge: set_meta(%s=…) left out: it is too long", largest)
        del meta[largest]
    return meta


#: The job that runs here.
job = CurrentJob()
