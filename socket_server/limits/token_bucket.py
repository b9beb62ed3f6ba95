"""Token buckets for rate limits with a burst. Pure, injected clock."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["Bucket", "Buckets"]

#: Buckets that are held at most; they take 25 MB.
MOST = 100_000


class Bucket:
    """A token bucket: ``burst`` tokens at once, and ``rate`` a second after that.

    Args:
        rate: tokens added per second.
        burst: tokens held at most, and at first.
        clock: monotonic clock, in seconds.
    """

    __slots__ = ("_at", "_burst", "_clock", "_rate", "_tokens")

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens, self._at = burst, clock()

    def take(self, tokens: float = 1.0) -> float:
        """Take tokens if there are enough.

        Returns:
            0.0 if they were taken; else seconds until there will be enough.
        """
        self._refill()
        if self._tokens >= tokens:
            self._tokens -= tokens
            return 0.0
        return (min(tokens, self._burst) - self._tokens) / self._rate

    def owe(self, tokens: float) -> float:
        """Take tokens, going into debt if need be; return seconds until the debt is paid."""
        self._refill()
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate)

    @property
    def full(self) -> bool:
        """Whether it holds ``burst`` tokens, as a new one does."""
        self._refill()
        return self._tokens >= self._burst

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


class Buckets:
    """A bucket for each key, made when it is first needed.

    Args:
        rate: as of :class:`Bucket`.
        burst: as of :class:`Bucket`.
        clock: monotonic clock, in seconds.
        most: buckets held at most; one more replaces the oldest.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST,
    ) -> None:
        self._new: Callable[[], Bucket] = lambda: Bucket(rate, burst, clock)
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()
        self._most = most

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, tokens: float = 1.0) -> float:
        """Take tokens from ``key``'s bucket; see :meth:`Bucket.take`."""
        return self._of(key).take(tokens)

    def owe(self, key: Hashable, tokens: float) -> float:
        """Take tokens from ``key``'s bucket in any case; see :meth:`Bucket.owe`."""
        return self._of(key).owe(tokens)

    def _of(self, key: Hashable) -> Bucket:
        if key not in self._buckets:
            if len(self._buckets) >= self._most:
                self._buckets.popitem(last=False)
            self._buckets[key] = self._new()
        return self._buckets[key]

    def prune(self) -> None:
        """Remove the buckets that are full."""
        for key in [key for key, bucket in self._buckets.items() if bucket.full]:
            del self._buckets[key]
