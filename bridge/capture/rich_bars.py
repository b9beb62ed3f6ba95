"""Capture of bars that a library draws with ``rich.progress``."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.progress import Progress, Task, TaskID

from bridge.reporting import current_job
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import Run

__all__ = ["install"]

T = TypeVar("T")

#: Attribute of a Progress that holds the meters of its tasks, each with its run.
METERS = "_taskbridge_meters"


def _run() -> Run | None:
    place = current_job.here()
    return place[0] if place is not None and "rich" in place[0].capture else None


def _reader(progress: Progress, task: Task) -> Callable[[], Reading | None]:
    reference = weakref.ref(progress)

    def read() -> Reading | None:
        if reference() is None:
            return None
        unit = task.fields.get("unit", "it")
        return Reading(task.completed, task.total, _plain(task.description), "", unit)

    return read


def _plain(description: object) -> str:
    """Return a description without rich's markup."""
    from rich.errors import MarkupError
    from rich.text import Text

    try:
        return Text.from_markup(str(description)).plain
    except MarkupError:
        return str(description)


def _add_task(
    original: Callable[..., TaskID], self: Progress, *args: object, **options: object
) -> TaskID:
    task = original(self, *args, **options)
    if not self.disable and (run := _run()):
        leave = not self.live.transient
        meter = Meter(_reader(self, self._tasks[task]), leave=leave, clock=run.clock)
        self.__dict__.setdefault(METERS, {})[task] = (run, meter)
        run.show(None, meter)
    return task


def _close(progress: Progress, task: TaskID, *, leave: bool) -> None:
    run, meter = progress.__dict__.get(METERS, {}).pop(task, (None, None))
    if meter is not None:
        meter.leave = meter.leave and leave
        meter.close()
        run.closed(meter)


def _remove_task(original: Callable[..., None], self: Progress, task_id: TaskID) -> None:
    _close(self, task_id, leave=False)
    original(self, task_id)


def _start(original: Callable[..., None], self: Progress) -> None:
    if _run() is None:
        original(self)
    else:
        # Nothing is drawn. Without auto-refresh, track() uses no thread, and counts each item.
        self.live.auto_refresh = False


def _stop(original: Callable[..., None], self: Progress) -> None:
    for task in list(self.__dict__.get(METERS, {})):
        _close(self, task, leave=True)
    if _run() is None or self.live.is_started:
        original(self)


def _step(original: Callable[..., None], self: Progress, *args: object, **options: object) -> None:
    if run := _run():
        run.check()
    original(self, *args, **options)


def _track(
    original: Callable[..., Iterator[T]], self: Progress, *args: object, **options: object
) -> Iterator[T]:
    run = _run()
    for item in original(self, *args, **options):
        if run:
            run.check()
        yield item


HOOKS: dict[str, Callable[..., object]] = {
    "add_task": _add_task,
    "remove_task": _remove_task,
    "start": _start,
    "stop": _stop,
    "advance": _step,
    "update": _step,
    "track": _track,
}


@functools.cache
def install() -> None:
    """Wrap the methods of ``Progress`` that make and move bars. Calling it again does nothing."""
    for name, hook in HOOKS.items():
        _hook(name, getattr(Progress, name), hook)


def _hook(name: str, original: Callable[..., object], hook: Callable[..., object]) -> None:
    @functools.wraps(original)
    def hooked(self: Progress, *args: object, **options: object) -> object:
        return hook(original, self, *args, **options)

    setattr(Progress, name, hooked)
