"""What an emitter counts, and tells with its events."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
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
        self._told: dict[str, int] = {}
        #: Events that were published, and attempts that failed.
        self.published = self.failures = 0
        #: Node name of the worker that this process belongs to; None outside of one.
        self.node: str | None = None

    def due(
        self, counts: Mapping[str, int], held: int = 0, *, always: bool = False
    ) -> dict[str, Any] | None:
        """Return them if they are to be told with the next event.

        Args:
            counts: of what was dropped so far; see ``Losses.counts``.
            held: bytes of memory of what waits to be sent.
            always: whether they are to be told in any case.
        """
        told, now = self._told_at, self._clock()
        counts = {"failures": self.failures, **counts}
        worse = any(count > self._told.get(name, 0) for name, count in counts.items())
        drained = not held and self._told.get("held", 0)
        quiet = told is not None and now - told < INTERVAL
        if quiet and not (worse or drained or always):
            return None
        return {
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "since": self._since,
            "published": self.published,
            "held": held,
            **counts,
            **({"node": self.node} if self.node else {}),
        }

    def note_told(self, told: dict[str, Any]) -> None:
        """Note that they were told; what could not be published is told again."""
        self._told_at, self._told = self._clock(), told
