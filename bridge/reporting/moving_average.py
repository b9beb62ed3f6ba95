"""``MovingAverage``: a rate averaged over time, in which old intervals lose weight."""

from __future__ import annotations

import math

__all__ = ["MovingAverage"]


class MovingAverage:
    """The average of a rate, weighted by an exponential function of the time.

    The weights are divided by their sum, as in Adam, so the first interval has no more weight than
    its length gives it. Intervals are uneven, so a weight depends on time, not number.

    Args:
        memory: time constant in seconds: after it, old intervals have lost two thirds of their
            weight.
        share: the time constant as a part of the averaged time, where that is longer; default 0.
    """

    def __init__(self, memory: float, share: float = 0.0) -> None:
        self._least, self._share = memory, share
        self._seconds = self._last = self._sum = self._weight = 0.0

    @property
    def _memory(self) -> float:
        return max(self._least, self._share * self._seconds)

    def add(self, rate: float, seconds: float) -> None:
        """Add an interval that has just ended: its rate, and its length, which is positive."""
        self._last = seconds
        self._seconds += seconds
        kept = math.exp(-seconds / self._memory)
        gained = -math.expm1(-seconds / self._memory)
        self._sum = kept * self._sum + gained * rate
        self._weight = kept * self._weight + gained

    def rate(self, still: float = 0.0) -> float | None:
        """Return the averaged rate, in units a second; None before the first interval.

        Args:
            still: seconds in which nothing has happened since the last interval. For a time
                constant, or as long as the last interval if that is longer, the rate is the same,
                since the next step may be under way; then it falls to 0.
        """
        if not self._weight:
            return None
        beyond = max(0.0, still - max(self._memory, self._last))
        return self._sum / self._weight * math.exp(-beyond / self._memory)
