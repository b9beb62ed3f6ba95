"""What an emitter counts, and tells with its events."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Figures"]

#: Seconds between two times that they are told, unless something went wrong meanwhile.
INTERVAL = 5.0


class Figures:
    """Counts of one process.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = time.time()
        self._told_at: float | None = None
        self._told_dropped = self._told_failures = 0
        #: Events that were published, and attempts that failed.
        self.published = self.failures = 0

    def due(self, dropped: int) -> dict[str, Any] | None:
        """Return them if they are to be told with the next event.

        Args:
            dropped: lines that were dropped so far.
        """
        told, now = self._told_at, self._clock()
        worse = dropped > self._told_dropped or self.failures > self._told_failures
        if not worse and told is not None and now - told < INTERVAL:
            return None
        return {
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "since": self._since,
            "published": self.published,
            "failures": self.failures,
            "dropped": dropped,
        }

    def note_told(self, dropped: int) -> None:
        """Note that they were told; what could not be published is told again."""
        self._told_at = self._clock()
        self._told_dropped, self._told_failures = dropped, self.failures
