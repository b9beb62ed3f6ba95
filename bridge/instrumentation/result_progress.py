"""``AsyncResult(id).info`` shows a running task's progress, in the keys that celery-progress reads.

A result backend may be slow or away, so a thread of its own does it, at most once a second. The
final state is never overwritten: what stores it waits a moment for a write that is under way, and
if that takes longer, the thread stores the final state once more behind it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from celery import states

from bridge.periodic_thread import Ticker
from bridge.reporting.task_run import Run

__all__ = ["STATE", "info", "track", "untrack"]

#: State of a task whose info is its progress, as in celery-progress and Celery's own examples.
STATE = "PROGRESS"
#: Seconds that the final state waits for a write that is under way.
PATIENCE = 0.1
#: After these, the task has nothing more to say.
FINAL = states.READY_STATES | {states.RETRY, states.REJECTED, states.IGNORED}


class Record:
    """A running task whose progress is stored."""

    def __init__(self, run: Run, task: Any) -> None:
        self.run, self.task, self.request = run, task, task.request
        #: Set when somebody else has stored a state that must stay.
        self.over = False
        self.writing = threading.Lock()
        self.told: dict[str, Any] | None = None
        self.final: Callable[[], Any] | None = None

    def store(self) -> None:
        """Store the progress, if there is news and nothing final was stored."""
        told = info(self.run)
        if told is None or told == self.told:
            return
        with self.writing:
            if not self.over:
                store_result = self.task.backend.store_result
                # Not through our own guard, where the backend is the one that the task uses.
                store_result = getattr(store_result, "__wrapped__", store_result)
                store_result(self.run.task, told, STATE, request=self.request)
                self.told = told
        if self.final is not None:
            self.final()

    def end(self, again: Callable[[], Any]) -> None:
        """Store nothing more; ``again`` stores the final state if a write is still under way."""
        self.over = True
        if self.writing.acquire(timeout=PATIENCE):
            self.writing.release()
        else:
            self.final = again


def info(run: Run) -> dict[str, Any] | None:
    """Return the progress of a run's first bar as celery-progress has it; None without a bar."""
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
_ticker = Ticker("taskbridge-results", "taskbridge: progress cannot be stored as a task's info: %s")


def track(run: Run, task: Any) -> None:
    """Store the progress of a run from now on.

    Args:
        run: what to read.
        task: the Celery task that is about to run; one whose result is ignored is left alone.
    """
    if task.ignore_result or getattr(task.request, "ignore_result", False):
        return
    _guard(task.backend)
    record = _records[run.task] = Record(run, task)
    _ticker.add(run.task, record.store)


def untrack(task_id: str) -> None:
    """Store nothing more of a task."""
    _ticker.remove(task_id)
    if record := _records.pop(task_id, None):
        record.over = True


def _guard(backend: Any) -> None:
    """See what the task itself stores with this backend."""
    original = backend.store_result
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def store_result(task_id: str, result: Any, state: str, *args: Any, **options: Any) -> Any:
        record = _records.get(task_id)
        if record is not None and state in FINAL:
            record.end(lambda: original(task_id, result, state, *args, **options))
        elif record is not None and state != states.STARTED:
            record.over = True  # the task keeps its info itself, with update_state()
        return original(task_id, result, state, *args, **options)

    backend.store_result = store_result
