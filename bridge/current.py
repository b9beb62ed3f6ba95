"""The current job: what a task reports about itself beyond its bars."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from bridge.events import MAX_LOG_BYTES
from bridge.run import Run

if TYPE_CHECKING:
    from bridge.emitter import Emitter

__all__ = ["CurrentJob", "enter", "job", "leave", "progress", "progress_range"]

T = TypeVar("T")

#: Longest chunk of output, in characters: as JSON, at up to 12 bytes each, it must fit an event.
MAX_CHUNK = 4096

_current: ContextVar[tuple[Run, Emitter] | None] = ContextVar("taskbridge_run", default=None)
_running: dict[str, tuple[Run, Emitter]] = {}


def enter(run: Run, emitter: Emitter) -> None:
    """Make ``run`` the current one of this thread or greenlet."""
    _running[run.task] = here = (run, emitter)
    _current.set(here)


def leave(task: str) -> tuple[Run, Emitter] | None:
    """Make the run of ``task`` current no more, and return it; None if it was not."""
    here = _running.pop(task, None)
    # Celery also tells of the end of what a task called in place, which was never entered.
    if here is not None and _current.get() is here:
        _current.set(None)
    return here


def running(task: str) -> tuple[Run, Emitter] | None:
    """Return the run of ``task`` in this process, with its emitter."""
    return _running.get(task)


def _here() -> tuple[Run, Emitter] | None:
    here = _current.get()
    if here is None and len(_running) == 1:
        # A thread that the task started has no context of its own; while the process runs one
        # job only, there is no doubt whose it is.
        with contextlib.suppress(ValueError):
            (here,) = _running.values()
    return here


class CurrentJob:
    """The job that runs here, as a task sees it. Outside a job every call does nothing."""

    @property
    def id(self) -> str | None:
        """Id of the job; None outside one."""
        here = _here()
        return here[0].job if here else None

    @property
    def cancelled(self) -> bool:
        """Whether somebody cancelled the job."""
        here = _here()
        return bool(here and here[0].cancelled)

    def raise_if_cancelled(self) -> None:
        """Stop here if somebody cancelled the job.

        Raises:
            JobCancelled: somebody did.
        """
        if here := _here():
            here[0].check()

    def log(self, message: object, level: str | int = "INFO") -> None:
        """Show a line to those who watch.

        Args:
            message: text, cut at 8 KiB.
            level: a level of :mod:`logging`, by name or number.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        if here := _here():
            run, emitter = here
            run.check()
            name = logging.getLevelName(level) if isinstance(level, int) else level.upper()
            line = {"at": time.time(), "level": name, "message": _cut(str(message))}
            emitter.put_line(run, "log", line)

    def output(self, chunk: str) -> None:
        """Show a piece of the job's output, in order, as it is.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        if here := _here():
            run, emitter = here
            run.check()
            for start in range(0, len(chunk), MAX_CHUNK):
                emitter.put_line(run, "output", chunk[start : start + MAX_CHUNK])


def _cut(text: str) -> str:
    data = text.encode("utf-8", "replace")
    return text if len(data) <= MAX_LOG_BYTES else data[:MAX_LOG_BYTES].decode("utf-8", "ignore")


#: The job that runs here.
job = CurrentJob()


def progress(iterable: Iterable[T] | None = None, desc: str | None = None, **options: Any) -> Any:
    """Return a bar over ``iterable``, used as one uses tqdm.

    Inside a job it is seen by those who watch it; elsewhere it is tqdm's own terminal bar.

    Args:
        iterable: what to iterate over; None for a bar that is moved by ``update()``.
        desc: text in front of the bar.
        options: ``total``, ``unit``, ``unit_scale``, ``leave``, ``initial``, ``postfix``.

    Raises:
        JobCancelled: (while iterating or updating) somebody cancelled the job.
    """
    here = _here()
    if here is None:
        from tqdm import tqdm

        return tqdm(iterable, desc=desc, **options)
    return here[0].bar(iterable, desc=desc, **options)


def progress_range(*bounds: int, **options: Any) -> Iterator[int]:
    """Return ``progress(range(*bounds), **options)``, as tqdm's ``trange`` does."""
    bar: Iterator[int] = progress(range(*bounds), **options)
    return bar
