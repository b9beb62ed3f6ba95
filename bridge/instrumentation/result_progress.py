"""Stores a running task's progress as ``AsyncResult(id).info``, with the keys of celery-progress.

A result backend may be slow or away, so a separate thread stores it, at most once a second. The
final state is never overwritten: storing it waits ``PATIENCE`` seconds for a progress write under
way, and if that write takes longer, the thread stores the final state once more after it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TypedDict

from celery import states

from bridge.periodic_thread import PeriodicThread
from bridge.reporting.run import Run
from bridge.untyped import CeleryTask, ResultBackend

__all__ = ["STATE", "info", "track", "untrack"]

#: State of a task whose info is its progress, as in celery-progress and Celery's own examples.
STATE = "PROGRESS"
#: Seconds that the final state waits for a write that is under way.
PATIENCE = 0.1
#: States after which no progress is stored.
FINAL = states.READY_STATES | {states.RETRY, states.REJECTED, states.IGNORED}


class ProgressInfo(TypedDict):
    """Progress of a task, as celery-progress reads it; the numbers are those of its first bar."""

    pending: bool
    current: float
    total: float | None
    percent: float
    description: str


class Record:
    """A running task whose progress is stored."""

    def __init__(self, run: Run, task: CeleryTask) -> None:
        self.run, self.task, self.request = run, task, task.request
        #: Set when a state was stored that progress must not overwrite.
        self.over = False
        self.writing = threading.Lock()
        self.told: ProgressInfo | None = None
        self.final: Callable[[], object] | None = None

    def store(self) -> None:
        """Store the progress, if it has changed and no final state was stored."""
        told = info(self.run)
        if told is None or told == self.told:
            return
        with self.writing:
            if not self.over:
                store_result = self.task.backend.store_result
                # Bypass the wrapper that `_guard` may have set on this backend.
                store_result = getattr(store_result, "__wrapped__", store_result)
                store_result(self.run.task, told, STATE, request=self.request)
                self.told = told
        if self.final is not None:
            self.final()

    def end(self, again: Callable[[], object]) -> None:
        """Stop storing progress; if a write takes over ``PATIENCE``, ``again`` is called after it.

        Args:
            again: stores the final state.
        """
        self.over = True
        if self.writing.acquire(timeout=PATIENCE):
            self.writing.release()
        else:
            self.final = again


def info(run: Run) -> ProgressInfo | None:
    """Return the progress of a run's first bar in celery-progress's form; None without a bar."""
    reading = run.reading
    if reading is None:
        return None
    percent = 100 * reading.n / reading.total if reading.total else 0.0
    return {
        "pending": False,
        "current": reading.n,
        "total": reading.total,
        "percent": round(max(0.0, min(100.0, percent)), 2),
        "description": reading.desc,
    }


_records: dict[str, Record] = {}
_ticker = PeriodicThread(
    "taskbridge-results", "taskbridge: progress cannot be stored as a task's info: %s"
)


def track(run: Run, task: CeleryTask) -> None:
    """Store the progress of a run from now on.

    Args:
        run: run whose progress is stored.
        task: the Celery task that is about to run; one whose result is ignored is left alone.
    """
    if task.ignore_result or getattr(task.request, "ignore_result", False):
        return
    _guard(task.backend)
    record = _records[run.task] = Record(run, task)
    _ticker.add(run.task, record.store)


def untrack(task_id: str) -> None:
    """Stop storing the progress of a task."""
    _ticker.remove(task_id)
    if record := _records.pop(task_id, None):
        record.over = True


def _guard(backend: ResultBackend) -> None:
    """Wrap ``store_result`` of a backend, so that states of the task itself stop its progress."""
    original = backend.store_result
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def store_result(
        task_id: str, result: object, state: str, *args: object, **options: object
    ) -> object:
        record = _records.get(task_id)
        if record is not None and state in FINAL:
            record.end(lambda: original(task_id, result, state, *args, **options))
        elif record is not None and state != states.STARTED:
            record.over = True  # the task keeps its info itself, with update_state()
        return original(task_id, result, state, *args, **options)

    backend.store_result = store_result
