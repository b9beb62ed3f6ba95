"""``Gathering``: a server that gets many events reads them some milliseconds' worth at a time.

Waking up, reading and polling cost a server more than an event does. As with interrupt moderation
in network drivers, an event that comes alone is read at once; only while events come faster than
``most`` seconds apart does the server wait that long between two reads.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Gathering"]


class Gathering:
    """Says how long to wait before the next read of the bus.

    Args:
        most: maximum seconds by which an event is delayed; 0 to delay none.
        clock: monotonic clock, in seconds.
    """

    def __init__(self, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._read_at = float("-inf")
        self._many = False

    def note(self, messages: int) -> None:
        """Note that a read has just brought so many messages; 0 if it brought other data."""
        if not messages:
            return
        now = self._clock()
        self._many = messages > 1 or now - self._read_at < self._most
        self._read_at = now

    @property
    def pause(self) -> float:
        """Seconds to wait before the next read; 0 or less for none.

        What the server did since the last read counts, so one that is busy does not wait.
        """
        return self._read_at + self._most - self._clock() if self._many else 0.0
