"""Pacing: expensive requests run one at a time, with a pause for other clients after each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Pace"]

#: Seconds of pause for each second of work.
PAUSE = 1.0
#: Seconds of work that need no pause.
FREE = 0.002
#: Seconds of long work after which other clients have their turn.
SLICE = 0.005


class Pace:
    """Lets concurrent expensive requests work one by one.

    Args:
        sleep: sleep function of the async mode, in seconds.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self, sleep: Callable[[float], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        # eventlet and gevent replace it by their own lock.
        self._lock = threading.Lock()
        self._sleep, self._clock = sleep, clock
        self._free_at = 0.0

    def wait(self) -> None:
        """Wait until this request may work."""
        if self._lock.locked() or self._free_at > self._clock():
            with self._lock:
                while (pause := self._free_at - self._clock()) > 0:
                    self._sleep(pause)

    def rest(self, seconds: float) -> None:
        """Pause amid long work, so that other clients are served."""
        self._sleep(seconds)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Measure the work, which must not block, to set the pause before the next request."""
        begun = self._clock()
        try:
            yield
        finally:
            self._count(begun)

    @contextmanager
    def sliced(self, wait: Callable[[], object]) -> Iterator[Callable[[], None]]:
        """Measure long work in slices, between which other requests work and clients are served.

        Args:
            wait: waits until this request may work again: :meth:`wait`, without the state lock.

        Yields:
            A function to call between small steps of the work, which waits once a slice is done.
        """
        begun = self._clock()

        def step() -> None:
            nonlocal begun
            if self._clock() - begun >= SLICE:
                self._count(begun)
                wait()
                begun = self._clock()

        try:
            yield step
        finally:
            self._count(begun)

    def _count(self, begun: float) -> None:
        now = self._clock()
        self._free_at = max(self._free_at, begun - FREE) + (now - begun) * (1 + PAUSE)
