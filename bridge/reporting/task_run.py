"""A run: one execution of one task, with its bars and counters."""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from bridge.errors import JobCancelled
from bridge.protocol.event import Event, EventType
from bridge.reporting.meter import Meter, Reading

__all__ = ["MAX_BARS", "Run"]

#: Bars of one run that travel; what a person can take in, and what fits an event.
MAX_BARS = 32
#: What Celery knows of an execution that is the first.
FIRST = {"attempt": 1, "redelivered": False}
#: Types of an event that gathers lines.
LINES = frozenset({"log", "output"})
#: Seconds between samples of a run that has gone on for a while.
INTERVAL = 0.1
#: Seconds between the first samples, so that a job of a second is more than one jump.
SHORTEST_INTERVAL = 0.02
#: In the place of many empty ones; never changed.
NOTHING: dict[str, Any] = {}


class Stoppable(Protocol):
    """A bar whose next step can be made to raise."""

    def stop(self) -> None: ...


class Run:
    """What the emitter's sender knows of a running task.

    The task's thread adds bars and reads :attr:`cancelled`; the sender does all the rest, so no
    lock is needed.

    Args:
        job: id of the job, which is Celery's ``root_id``.
        task: id of the task.
        name: name of the task.
        owner: whose job it is; None for nobody's.
        begun: number of the execution, see ``publishing.run_after``; 0 for what only announces a
            task; default the microsecond since the epoch.
        execution: what its events say about it: Celery's number of the attempt and whether the
            message was delivered before, by which a server finds the newest of several.
        is_cancelled: tells whether the job was cancelled; None if nothing can.
        capture: what is captured from code that knows nothing of taskbridge; see
            ``bridge.capture``.
        node: node name of the worker that runs it; None outside of one.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        job: str,
        task: str,
        name: str,
        owner: str | None = None,
        begun: int | None = None,
        execution: dict[str, Any] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        capture: frozenset[str] = frozenset(),
        node: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job, self.task, self.name, self.owner = job, task, name, owner
        self.begun = time.time_ns() // 1000 if begun is None else begun
        self.execution = execution or {}
        #: What all events of a later execution say; of a first one, those of its life do.
        self._later = {} if self.execution == FIRST else self.execution
        self.capture, self.node = capture, node
        self.clock = clock
        self.cancelled = False
        #: Whether it was told how the run ended.
        self.over = False
        #: How many tasks of each name are linked to it without an id; None if nobody has looked.
        self.callbacks: Counter[str] | None = None
        #: Whether the task published itself again, to be tried again or replaced.
        self.republished = False
        #: Lines dropped so far; it only grows, since tasks count it while the sender reads it.
        self.dropped = 0
        #: Lines dropped so far because the task logs more than it may; only the sender counts it.
        self.limited = 0
        #: What the task said about itself, by name; replaced and never changed in place.
        self.meta: dict[str, Any] = {}
        self.sent_at = self.sampled_at = self.started_at = clock()
        self._is_cancelled = is_cancelled
        self._meters: dict[int, Meter] = {}
        self._bars: weakref.WeakSet[Stoppable] = weakref.WeakSet()
        self._shown: list[Meter] = []
        self._told_meta = self.meta
        #: What an event would have told that was left out.
        self._skipped = NOTHING
        self._seq = -1
        self._tick = 0
        self._told = 0

    def show(
        self,
        bar: Stoppable | None,
        meter: Meter,
        position: int | None = None,
        *,
        hidden: bool = False,
    ) -> int:
        """Sample a bar from now on, on the lowest line that no open bar holds, as tqdm does.

        Args:
            bar: what to stop when the job is cancelled; None if it looks for itself.
            meter: what to sample. With all lines held by open bars it is not shown.
            position: the line, if no open bar holds it.
            hidden: only stop it.

        Returns:
            The line; one beyond the last for a bar that is not shown.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        self.check()
        if bar is not None:
            self._bars.add(bar)
        free = [line for line in range(MAX_BARS) if self._is_free(line)]
        if hidden or not free:
            return MAX_BARS
        line = position if position in free else free[0]
        self._meters[line] = meter
        return line

    def _is_free(self, line: int) -> bool:
        meter = self._meters.get(line)
        return meter is None or meter.over()

    def check(self) -> None:
        """Return at once, unless the job was cancelled.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        if self.cancelled:
            raise JobCancelled

    def closed(self, meter: Meter) -> None:
        """Take a closed bar off its line, unless it is to stay there."""
        for line, shown in list(self._meters.items()):
            if shown is meter and not _stays(line, meter):
                self._meters.pop(line, None)

    def notice_cancel(self) -> None:
        """Look whether the job was cancelled, and stop its bars then; called by the sender."""
        if not self.cancelled and self._is_cancelled is not None:
            self.cancelled = self._is_cancelled()
        if self.cancelled:
            self._stop_bars()

    def _stop_bars(self) -> None:
        try:
            for bar in list(self._bars):
                bar.stop()
        except RuntimeError:  # the task has just made another: the next time will do
            pass

    @property
    def reading(self) -> Reading | None:
        """What the bar on the first line shows; None without one."""
        return next((meter.reading for _, meter in self._lines()), None)

    def _lines(self) -> list[tuple[int, Meter]]:
        return sorted(self._meters.copy().items())

    @property
    def interval(self) -> float:
        """Seconds until the next sample: a tenth of the run's age, within bounds."""
        age = self.clock() - self.started_at
        return min(INTERVAL, max(SHORTEST_INTERVAL, age / 10))

    def sample(self, *, force: bool = False) -> Event | None:
        """Return a progress event with all bars, or None if nothing changed since the last."""
        if self._seq < 0:
            return None  # sent before `started`, it would make that one stale
        meters = {line: one for line, one in self._lines() if _stays(line, one)}
        meta = self.meta
        self.sampled_at = self.clock()
        changed = [meter for meter in meters.values() if meter.changed()]
        same = self._shown == list(meters.values()) and meta is self._told_meta
        if same and not changed and not force:
            return None
        self._shown, self._told_meta = list(meters.values()), meta
        self._tick += 1
        bars = [meter.sample(line) for line, meter in meters.items()]
        told = {"bars": bars, **({"meta": meta} if meta else {}), **self._later}
        return self._event("progress", told)

    def event(self, kind: EventType, data: dict[str, Any], at: float | None = None) -> Event:
        """Return the run's next event that must not be lost; ``at`` is now unless given."""
        self._seq += 1
        self._tick = 0
        known = self._later if kind in LINES else self.execution
        return self._event(kind, {**known, **self.complete(data)}, at)

    def complete(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return an event's data with what was dropped since the last event, which it tells."""
        # Only such an event tells what was dropped: progress may be replaced by newer progress.
        untold = self.dropped + self.limited - self._told
        self._told += untold
        skipped, self._skipped = self._skipped, NOTHING
        return {**skipped, **data, **({"dropped": untold} if untold else {})}

    def skip(self, data: dict[str, Any]) -> None:
        """Leave out the run's next event; the gap shows, and the one after it tells its data."""
        self._seq += 1
        self._skipped = data

    def _event(self, kind: EventType, data: dict[str, Any], at: float | None = None) -> Event:
        return Event(
            job=self.job,
            task=self.task,
            name=self.name,
            owner=self.owner,
            type=kind,
            run=self.begun,
            seq=max(self._seq, 0),
            tick=self._tick,
            at=time.time() if at is None else at,
            data=data,
        )


def _stays(line: int, meter: Meter) -> bool:
    """Whether a bar is to be shown on its line: it goes on, or was to be left there."""
    return not meter.over() or bool(line == 0 if meter.leave is None else meter.leave)
