"""Capture of the progress that a task stores with Celery's ``update_state``, as a bar and meta."""

from __future__ import annotations

import functools
import weakref

from celery import Task

from bridge.reporting import current_job, state_meta
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import Run
from bridge.untyped import CeleryTask

__all__ = ["install"]

#: Kinds of capture with any of which bars of other libraries are shown, and so these.
BARS = frozenset({"tqdm", "rich"})


class _Bar:
    """The bar of a run whose task calls ``update_state``; each call replaces its values."""

    def __init__(self, run: Run, reading: Reading) -> None:
        self._reading = reading
        self._meter = Meter(lambda: self._reading, clock=run.clock)
        run.show(None, self._meter)

    def move(self, reading: Reading) -> None:
        before, self._reading = self._reading, reading
        if (reading.total, reading.unit) != (before.total, before.unit) or reading.n < before.n:
            self._meter.reset()  # the task counts something else from now on


_bars: weakref.WeakKeyDictionary[Run, _Bar] = weakref.WeakKeyDictionary()


def _run(task_id: str | None, state: object) -> Run | None:
    if not state_meta.is_progress(state):
        return None
    # As for other captured bars, the context tells the job, unless the call names another task.
    place = current_job.running(task_id) if task_id else current_job.here()
    return place[0] if place is not None and place[0].capture & BARS else None


def _show(run: Run, meta: object) -> None:
    reading, facts = state_meta.read(meta)
    if reading is not None:
        if run in _bars:
            _bars[run].move(reading)
        else:
            _bars[run] = _Bar(run, reading)
    if facts:
        current_job.put_meta(run, facts)


@functools.cache
def install() -> None:
    """Wrap ``update_state`` of all tasks. Calling it again does nothing."""
    original = Task.update_state

    @functools.wraps(original)
    def update_state(
        self: CeleryTask,
        task_id: str | None = None,
        state: str | None = None,
        meta: object = None,
        **options: object,
    ) -> None:
        run = _run(task_id, state)
        if run is not None:
            run.check()
        # First: from then on, the info that taskbridge stores does not replace the task's own.
        original(self, task_id, state, meta, **options)
        if run is not None:
            _show(run, meta)

    Task.update_state = update_state
