"""Rate limits, in bytes: a token bucket, and the shares of the runs of a process.

The stream of events is bounded and shared by all jobs, so a task that logs without end would push
the history of other jobs out of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Allowance", "Shares"]

R = TypeVar("R", bound=Hashable)

#: Size of a bucket, in seconds of its rate.
BURST = 60.0
#: Fraction of a process's rate for one run, and, beside the runs, for the application's own events.
PART = 0.5


class Allowance:
    """A token bucket of bytes, which may become negative.

    Args:
        rate: bytes a second.
        clock: monotonic seconds.
    """

    __slots__ = ("_at", "_burst", "_bytes", "_clock", "_rate")

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._burst = self._bytes = BURST * rate
        self._at = clock()

    @property
    def left(self) -> float:
        """Bytes that may be sent now; negative if more was sent than allowed."""
        now = self._clock()
        self._bytes = min(self._burst, self._bytes + (now - self._at) * self._rate)
        self._at = now
        return self._bytes

    def spend(self, size: float) -> None:
        """Take ``size`` bytes out of the bucket, whatever it holds."""
        self._bytes = self.left - size


class Shares(Generic[R]):
    """Divides the rate of a process among its runs, so that none takes what others need.

    Args:
        rate: bytes a second of all runs together; one run may use half of it.
        clock: monotonic seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._new: Callable[[], Allowance] = lambda: Allowance(PART * rate, clock)
        self._all = Allowance(rate, clock)
        self._runs: WeakKeyDictionary[R, Allowance] = WeakKeyDictionary()
        #: Bucket of the application's own events, of half the rate; runs do not draw on it.
        self.pushes = self._new()

    def grant(self, wanted: Mapping[R, float]) -> dict[R, float]:
        """Return how many bytes each run may send now, at most what it wants to send.

        If there is not enough for all, the runs that want least are served first, and the others
        share the rest evenly.
        """
        most = {run: min(size, self._of(run).left) for run, size in wanted.items()}
        left, granted = self._all.left, {}
        for served, (run, size) in enumerate(sorted(most.items(), key=lambda item: item[1])):
            granted[run] = max(0.0, min(size, left / (len(most) - served)))
            left -= granted[run]
        return granted

    def spend(self, run: R, size: float) -> None:
        """Take ``size`` bytes out of the buckets of a run and of the process."""
        self._of(run).spend(size)
        self._all.spend(size)

    def _of(self, run: R) -> Allowance:
        if run not in self._runs:
            self._runs[run] = self._new()
        return self._runs[run]
