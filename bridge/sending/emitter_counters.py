"""``EmitterCounters``: the counters of an emitter, which it sends with its events."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

from bridge.protocol.json_types import JSONObject

__all__ = ["EmitterCounters"]

#: Seconds between two events with counters, unless a failure or a loss is to be reported.
INTERVAL = 5.0


class EmitterCounters:
    """Counters of one process.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = time.time()
        self._told_at: float | None = None
        self._told: dict[str, int] = {}
        #: Events that were published, and attempts to publish that failed.
        self.published = self.failures = 0
        #: Node name of the worker that this process belongs to; None outside a worker.
        self.node: str | None = None

    def due(
        self, counts: Mapping[str, int], held: int = 0, *, always: bool = False
    ) -> JSONObject | None:
        """Return the counters if the next event is to carry them, else None.

        They are due every ``INTERVAL`` seconds, and sooner after a failure, after a loss, and when
        no unsent entries are left.

        Args:
            counts: losses so far; see ``Losses.counts``.
            held: bytes of memory of unsent entries; default 0.
            always: whether to return the counters in any case; default False.
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

    def note_told(self, told: JSONObject) -> None:
        """Note that an event with the counters ``told`` was published."""
        self._told_at, self._told = self._clock(), told
