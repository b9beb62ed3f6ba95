"""A run: one execution of one task, with its bars and counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bridge.bar import Bar
from bridge.errors import JobCancelled
from bridge.events import Event, EventType

__all__ = ["MAX_BARS", "Run"]

#: Bars of one run that travel; what a person can take in, and what fits an event.
MAX_BARS = 32
#: tqdm's options about drawing on a terminal; code that gives them runs in a job all the same.
TERMINAL_ONLY = frozenset(
    {
        "ascii",
        "bar_format",
        "colour",
        "delay",
        "dynamic_ncols",
        "file",
        "gui",
        "lock_args",
        "maxinterval",
        "mininterval",
        "miniters",
        "ncols",
        "nrows",
        "position",
        "smoothing",
        "unit_divisor",
        "write_bytes",
    }
)
#: Seconds between samples of a run that has gone on for a while.
INTERVAL = 0.1
#: Seconds between the first samples, so that a job of a second is more than one jump.
SHORTEST_INTERVAL = 0.02


class Run:
    """What the emitter's sender knows of a running task.

    The task's thread adds bars and reads :attr:`cancelled`; the sender does all the rest, so no
    lock is needed.

    Args:
        job: id of the job, which is Celery's ``root_id``.
        task: id of the task.
        name: name of the task.
        owner: whose job it is; None for nobody's.
        begun: microsecond since the epoch at which it began; 0 for what only announces a task.
        flag: file whose existence means that the job was cancelled.
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
        flag: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.job, self.task, self.name, self.owner = job, task, name, owner
        self.begun = time.time_ns() // 1000 if begun is None else begun
        self.cancelled = False
        #: Lines dropped so far; it only grows, since tasks count it while the sender reads it.
        self.dropped = 0
        self.sent_at = self.sampled_at = self.started_at = clock()
        self._flag = flag
        self._clock = clock
        self._bars: dict[int, Bar[Any]] = {}
        self._samples: dict[int, dict[str, Any]] = {}
        self._seq = -1
        self._tick = 0
        self._told = 0

    def bar(self, iterable: Iterable[Any] | None = None, **options: Any) -> Bar[Any]:
        """Open a bar on the lowest line that no open bar holds, as tqdm does."""
        disabled = options.pop("disable", False)
        options = {name: value for name, value in options.items() if name not in TERMINAL_ONLY}
        if disabled:
            return Bar(iterable, **options, check=self.check)
        taken = {position for position, bar in list(self._bars.items()) if not bar.closed}
        position = next(line for line in range(len(taken) + 1) if line not in taken)
        bar: Bar[Any] = Bar(
            iterable,
            **options,
            position=position,
            check=self.check,
            on_close=self._closed,
            clock=self._clock,
        )
        self._bars[position] = bar
        return bar

    def check(self) -> None:
        """Return at once, unless the job was cancelled.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        if self.cancelled:
            raise JobCancelled

    def _closed(self, bar: Bar[Any]) -> None:
        # As with tqdm, `leave=None` keeps only the outermost bar.
        keep = bar.position == 0 if bar.leave is None else bar.leave
        if not keep and self._bars.get(bar.position) is bar:
            self._bars.pop(bar.position, None)

    def notice_cancel(self) -> None:
        """Look whether the job was cancelled; called by the sender, since it asks the disk."""
        if not self.cancelled and self._flag is not None and self._flag.exists():
            self.cancelled = True

    @property
    def interval(self) -> float:
        """Seconds until the next sample: a tenth of the run's age, within bounds."""
        age = self._clock() - self.started_at
        return min(INTERVAL, max(SHORTEST_INTERVAL, age / 10))

    def sample(self, *, force: bool = False) -> Event | None:
        """Return a progress event with all bars, or None if nothing changed since the last."""
        if self._seq < 0:
            return None  # sent before `started`, it would make that one stale
        bars = dict(list(self._bars.items())[:MAX_BARS])
        changed = bars.keys() != self._samples.keys() or any(
            bar.changed(self._samples[line]) for line, bar in bars.items()
        )
        self.sampled_at = self._clock()
        if not (changed or force):
            return None
        self._samples = {line: bars[line].sample() for line in sorted(bars)}
        self._tick += 1
        return self._event("progress", {"bars": list(self._samples.values())})

    def event(self, kind: EventType, data: dict[str, Any], at: float | None = None) -> Event:
        """Return the run's next event that must not be lost; ``at`` is now unless given."""
        self._seq += 1
        self._tick = 0
        return self._event(kind, data, at)

    def _event(self, kind: EventType, data: dict[str, Any], at: float | None = None) -> Event:
        if untold := self.dropped - self._told:
            data = {**data, "dropped": untold}
            self._told += untold
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
