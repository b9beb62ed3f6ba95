"""How many bytes of lines a process may send, and how its tasks share them. Pure, injected clock.

The stream of events is bounded and shared by all, so a task that logs without end would push the
history of other jobs out of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Allowance", "Shares"]

R = TypeVar("R", bound=Hashable)

#: Seconds of its rate that may be used up at once, after as much silence.
BURST = 60.0
#: The part of a process's rate that one task may use, and that an application's own events may.
PART = 0.5


class Allowance:
    """A token bucket of bytes, from which more may be taken than there is.

    Args:
        rate: bytes a second.
        clock: seconds, monotonic.
    """

    __slots__ = ("_at", "_burst", "_bytes", "_clock", "_rate")

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._burst = self._bytes = BURST * rate
        self._at = clock()

    @property
    def left(self) -> float:
        """Bytes that may be sent now; negative while more was sent than was allowed."""
        now = self._clock()
        self._bytes = min(self._burst, self._bytes + (now - self._at) * self._rate)
        self._at = now
        return self._bytes

    def spend(self, size: float) -> None:
        """Note that bytes are sent."""
        self._bytes = self.left - size


class Shares(Generic[R]):
    """Divides what a process may send among its runs, so that none takes what others need.

    Args:
        rate: bytes a second of all runs; one may have half of it, and so may own events.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._new: Callable[[], Allowance] = lambda: Allowance(PART * rate, clock)
        self._all = Allowance(rate, clock)
        self._runs: WeakKeyDictionary[R, Allowance] = WeakKeyDictionary()
        #: What an application's own events may take.
        self.pushes = self._new()

    def grant(self, wanted: Mapping[R, float]) -> dict[R, float]:
        """Return how many of the bytes that each run wants to send it may send now.

        Where there is not enough for all, those who want least are served first, and the others
        share the rest evenly.
        """
        most = {run: min(size, self._of(run).left) for run, size in wanted.items()}
        left, granted = self._all.left, {}
        for served, (run, size) in enumerate(sorted(most.items(), key=lambda item: item[1])):
            granted[run] = max(0.0, min(size, left / (len(most) - served)))
            left -= granted[run]
        return granted

    def spend(self, run: R, size: float) -> None:
        """Note that a run sends bytes."""
        self._of(run).spend(size)
        self._all.spend(size)

    def _of(self, run: R) -> Allowance:
        if run not in self._runs:
            self._runs[run] = self._new()
        return self._runs[run]
