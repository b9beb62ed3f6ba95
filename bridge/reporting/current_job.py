"""``job``, a task's handle on its own job, and the registry of the runs of this process."""

from __future__ import annotations

import json
import logging
import threading
from contextvars import ContextVar
from types import TracebackType

from bridge.errors import JobCancelled
from bridge.protocol.event import MAX_LOG_BYTES, MAX_META_BYTES, finite_json
from bridge.protocol.json_types import Ending, JSONObject
from bridge.protocol.nesting import shallow_json
from bridge.reporting.reporter import Reporter
from bridge.reporting.run import Run
from bridge.reporting.steps import Step

__all__ = [
    "CurrentJob",
    "StepScope",
    "enter",
    "here",
    "job",
    "leave",
    "leave_all",
    "put_meta",
    "running",
]

logger = logging.getLogger(__name__)

#: Longest chunk of output, in characters: as JSON, at up to 12 bytes each, it must fit an event.
MAX_CHUNK = 4096
#: Longest chunk of bytes: as base64, it must fit an event.
MAX_BYTES_CHUNK = 32 * 1024

#: A run, and the reporter that takes its events.
Here = tuple[Run, Reporter]

_current: ContextVar[Here | None] = ContextVar("taskbridge_run", default=None)
_running: dict[str, Here] = {}
#: The run that the main thread of the process executes; empty if there is none.
_of_main_thread: list[Here] = []


def enter(run: Run, emitter: Reporter) -> None:
    """Make ``run`` the current one of this thread or greenlet."""
    _running[run.task] = here = (run, emitter)
    _current.set(here)
    if threading.current_thread() is threading.main_thread():
        _of_main_thread[:] = [here]


def leave(task: str) -> Here | None:
    """Remove the run of ``task`` from the registry and return it; None if it is not there."""
    here = _running.pop(task, None)
    if here is not None and _current.get() is here:
        _current.set(None)
    if here in _of_main_thread:
        _of_main_thread.clear()
    return here


def leave_all() -> None:
    """Clear the registry; a forked child does so, since it executes none of these runs."""
    _running.clear()
    _of_main_thread.clear()
    _current.set(None)


def running(task: str) -> Here | None:
    """Return the run of ``task`` in this process, with its reporter; None if there is none."""
    return _running.get(task)


def here() -> Here | None:
    """Return the run of the calling code; None outside a run, or if several are possible."""
    here = _current.get()
    if here is None and len(_running) == 1 and _of_main_thread:
        # A thread that the task started has an empty context. Where tasks run in the main thread
        # (prefork, solo) there is one run at a time, so the thread belongs to it.
        return _of_main_thread[0]
    return here


class StepScope:
    """The ``with`` block of ``job.step``: begins a step, and ends it.

    Args:
        name: name of the step.
    """

    __slots__ = ("_name", "_run", "_step")

    def __init__(self, name: object) -> None:
        self._name = name
        self._run: Run | None = None
        self._step: Step | None = None

    def __enter__(self) -> None:
        place = here()
        if place is not None and not place[0].over:
            self._run = place[0]
            self._run.check()
            self._step = self._run.steps.begin(self._name)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        step, self._step = self._step, None
        if step is not None:
            step.end("succeeded" if kind is None else self._end(kind))

    def _end(self, kind: type[BaseException]) -> Ending:
        if issubclass(kind, GeneratorExit):
            return "succeeded"  # of a generator that is not asked for more
        # A cancelled task that does not end by itself is ended by a SystemExit.
        forced = self._run is not None and self._run.cancelled and not issubclass(kind, Exception)
        return "cancelled" if forced or issubclass(kind, JobCancelled) else "failed"


class CurrentJob:
    """The job that the calling code runs in. Outside a job every call does nothing."""

    @property
    def id(self) -> str | None:
        """Id of the job; None outside a job."""
        return place[0].job if (place := here()) else None

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled."""
        return bool((place := here()) and place[0].cancelled)

    def raise_if_cancelled(self) -> None:
        """Raise ``JobCancelled`` if the job was cancelled.

        Raises:
            JobCancelled: the job was cancelled.
        """
        if place := here():
            place[0].check()

    def log(self, message: object, level: str | int = "INFO") -> None:
        """Send a log line to the clients that watch the job.

        Args:
            message: text of the line, cut at 8 KiB.
            level: a level of :mod:`logging`, by name or number; default ``INFO``.

        Raises:
            JobCancelled: the job was cancelled.
        """
        if place := here():
            run, emitter = place
            run.check()
            name = logging.getLevelName(level) if isinstance(level, int) else level.upper()
            emitter.put_line(run, "log", cut_line(str(message)), name)

    def output(self, chunk: str | bytes) -> None:
        """Send a chunk of output, unchanged and in order, to the clients that watch the job.

        Args:
            chunk: text, or bytes, which are sent as base64; of any length.

        Raises:
            JobCancelled: the job was cancelled.
        """
        if place := here():
            run, emitter = place
            run.check()
            put_output(run, emitter, chunk)

    def step(self, name: object) -> StepScope:
        """Return a context manager for a part of the task, which clients see with its duration.

        A step that begins in another one is a part of that one. Bars that are made in it, and lines
        and output, name it. It ends as failed if an exception leaves it, and with the task at the
        latest. At most 32 steps of a task are listed: of those that have ended, the ones that are
        nested deepest are left out first, and of these the oldest; clients see how many. A step in
        a loop costs some microseconds, and sends nothing by itself.

        Args:
            name: its name, cut at 200 characters.

        Raises:
            JobCancelled: (where the ``with`` block begins) the job was cancelled.
        """
        return StepScope(name)

    def set_meta(self, **values: object) -> None:
        """Set values that clients see with the job; a newer value of a name replaces the older.

        Args:
            values: JSON values by name; None removes a name. A value that is not JSON is sent as
                its ``str()``. While all values together take more than 4 KiB of JSON, the largest
                one is left out, and the worker's log has a warning.

        Raises:
            JobCancelled: the job was cancelled.
        """
        if place := here():
            run, _ = place
            run.check()
            put_meta(run, values)


def put_meta(run: Run, values: JSONObject) -> None:
    """Set values of a run's meta, as ``job.set_meta`` does."""
    meta = {name: value for name, value in (run.meta | values).items() if value is not None}
    run.meta = _fitting({name: _json(value) for name, value in meta.items()})


def put_output(run: Run, emitter: Reporter, chunk: str | bytes) -> None:
    """Pass a chunk of output to the reporter, in pieces that each fit an event."""
    most = MAX_CHUNK if isinstance(chunk, str) else MAX_BYTES_CHUNK
    if not isinstance(chunk, str):
        chunk = bytes(chunk)
    for start in range(0, len(chunk), most):
        emitter.put_line(run, "output", chunk[start : start + most])


def cut_line(text: str) -> str:
    """Return text, cut to the ``MAX_LOG_BYTES`` bytes of UTF-8 that a log line may have."""
    if len(text) * 4 <= MAX_LOG_BYTES:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= MAX_LOG_BYTES else data[:MAX_LOG_BYTES].decode("utf-8", "ignore")


def _json(value: object) -> object:
    try:
        return json.loads(shallow_json(value))  # a copy: the task may go on to change its own
    except (TypeError, ValueError):
        try:
            return str(value)
        except Exception:  # noqa: BLE001 - __str__ of the application's class
            return f"<{type(value).__name__}>"


def _fitting(meta: JSONObject) -> JSONObject:
    while len(finite_json(meta)) > MAX_META_BYTES:
        largest = max(meta, key=lambda name: len(finite_json(meta[name])))
        logger.warning("taskbridge: set_meta(%s=…) left out: it is too long", largest)
        del meta[largest]
    return meta


#: The job that the calling code runs in.
job = CurrentJob()
