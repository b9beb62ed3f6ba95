"""Bars of a forked child: read in the child, and shown in the run of its parent."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from bridge.errors import JobCancelled
from bridge.reporting.meter import Meter, Reading
from bridge.reporting.run import MAX_BARS, Run

__all__ = ["ChildBars", "ParentBars", "SentBar"]

#: A bar on its way: the child's process id, the bar's number there, whether it is closed, the
#: number of its step, whether it stays visible then, and the fields of its :class:`Reading`.
SentBar = list[object]


class ChildBars:
    """The open bars of a child. The thread that made a bar adds it, and any thread reads them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        #: Meters by number, each with what was sent of it last.
        self._meters: dict[int, tuple[Meter, SentBar | None]] = {}

    def __len__(self) -> int:
        return len(self._meters)

    def add(self, meter: Meter) -> None:
        """Add a bar, unless it is there or closed, or there are as many as a run shows."""
        with self._lock:
            known = any(one is meter for one, _ in self._meters.values())
            if not known and not meter.closed and len(self._meters) < MAX_BARS:
                self._count += 1
                self._meters[self._count] = meter, None

    def changes(self) -> list[SentBar]:
        """Return the bars that have changed since :meth:`sent` was called with them."""
        with self._lock:
            now = [(_sent(number, meter), last) for number, (meter, last) in self._meters.items()]
        return [bar for bar, last in now if bar != last]

    def sent(self, bars: list[SentBar]) -> None:
        """Note that bars were sent; a closed one is forgotten."""
        with self._lock:
            for bar in bars:
                _, number, closed, *_ = bar
                assert isinstance(number, int)
                if closed:
                    self._meters.pop(number, None)
                elif number in self._meters:
                    self._meters[number] = self._meters[number][0], bar


def _sent(number: int, meter: Meter) -> SentBar:
    closed = meter.over()
    return [os.getpid(), number, closed, meter.step, meter.leave, *meter.reading]


class _Shown:
    """A child's bar in the run of its parent."""

    def __init__(self, run: Run, reading: Reading, step: int | None, leave: bool | None) -> None:
        self.reading = reading
        self.meter = Meter(lambda: self.reading, leave=leave, clock=run.clock)
        with suppress(JobCancelled):
            run.show(None, self.meter)
        self.meter.step = step


class ParentBars:
    """Shows the bars of a child, and of its own children, in the run of their parent.

    Args:
        run: run in which the child was forked.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._shown: dict[tuple[object, object], _Shown] = {}

    def take(self, bars: list[SentBar]) -> None:
        """Show what a child has sent."""
        for child, number, closed, step, leave, *fields in bars:
            reading, key = Reading(*fields), (child, number)  # type: ignore[arg-type]
            if key not in self._shown:
                self._shown[key] = _Shown(self._run, reading, step, leave)  # type: ignore[arg-type]
            self._shown[key].reading = reading
            if closed:
                self._close(self._shown.pop(key))

    def end(self) -> None:
        """Close all bars: the child has exited."""
        while self._shown:
            self._close(self._shown.popitem()[1])

    def _close(self, bar: _Shown) -> None:
        bar.meter.close()
        self._run.closed(bar.meter)
