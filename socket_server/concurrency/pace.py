"""Pacing: what takes long is done one after the other, with a pause for others after each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Pace"]

#: Seconds of pause for each second of work.
PAUSE = 1.0
#: Seconds of work that need no pause.
FREE = 0.002


class Pace:
    """Lets many who ask much at once in one by one, first come, first served.

    Args:
        sleep: of the mode; lets others have their turn.
        clock: seconds, monotonic.
    """

    def __init__(
        self, sleep: Callable[[float], Any], clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Of the mode, too: eventlet and gevent put theirs into its place.
        self._lock = threading.Lock()
        self._sleep, self._clock = sleep, clock
        self._free_at = 0.0

    def wait(self) -> None:
        """Wait for one's turn to work."""
        if self._lock.locked() or self._free_at > self._clock():
            with self._lock:
                while (pause := self._free_at - self._clock()) > 0:
                    self._sleep(pause)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Measure work, which waits for nothing; whoever waits comes in a while after it."""
        begun = self._clock()
        try:
            yield
        finally:
            now = self._clock()
            self._free_at = max(self._free_at, begun - FREE) + (now - begun) * (1 + PAUSE)
