"""Token buckets: so much at once, so much a second. Pure, injected clock."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["Bucket", "Buckets"]

#: Buckets that are held at once: 25 MB.
MOST = 100_000


class Bucket:
    """Lets ``burst`` through at once, and ``rate`` a second after that.

    Args:
        rate: tokens that come back a second.
        burst: tokens that it holds at most, and at first.
        clock: seconds, monotonic.
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
        """Take tokens, even those that are not there yet; return seconds until they will be."""
        self._refill()
        self._tokens -= tokens
        return max(0.0, -self._tokens / self._rate)

    @property
    def full(self) -> bool:
        """Whether nothing was taken for so long that it is as good as new."""
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
        clock: seconds, monotonic.
        most: buckets that are held; one more takes the place of the oldest.
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
        """Take tokens of ``key``'s bucket; see :meth:`Bucket.take`."""
        return self._of(key).take(tokens)

    def owe(self, key: Hashable, tokens: float) -> float:
        """Take tokens of ``key``'s bucket in any case; see :meth:`Bucket.owe`."""
        return self._of(key).owe(tokens)

    def _of(self, key: Hashable) -> Bucket:
        if key not in self._buckets:
            if len(self._buckets) >= self._most:
                self._buckets.popitem(last=False)
            self._buckets[key] = self._new()
        return self._buckets[key]

    def prune(self) -> None:
        """Forget those that are full."""
        for key in [key for key, bucket in self._buckets.items() if bucket.full]:
            del self._buckets[key]
