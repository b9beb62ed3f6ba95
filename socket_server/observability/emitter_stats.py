"""Totals of the counts that emitters (processes that send events) report, and clock skew. Pure."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from bridge.protocol.json_types import JSONObject

__all__ = ["EmitterStats"]

K = TypeVar("K")
V = TypeVar("V")

#: Processes and hosts remembered at most; the totals keep the counts of forgotten ones.
MAX_EMITTERS, MAX_HOSTS = 10_000, 1_000
#: Names of an emitter's counts; emitters of older versions report only the first three.
COUNTS = (
    "published",
    "failures",
    "dropped",
    "dropped_pushes",
    "dropped_events",
    "dropped_ends",
    "shortened_ends",
)
#: Seconds in which at least one event of a host is assumed to arrive without delay.
WINDOW = 60.0
#: Seconds up to which a host's clock that is behind cannot be told from a delay.
UNSURE = 0.5


class Skew:
    """Clock skew of one host: the age on arrival of its quickest recent event."""

    __slots__ = ("_before", "_now", "_since")

    def __init__(self, now: float) -> None:
        self._before = self._now = float("inf")
        self._since = now

    def note(self, apart: float, now: float) -> float:
        """Note the seconds from an event's time to its arrival; return the skew in seconds.

        The quickest event is taken to have had no delay. The skew is negative if the host's clock
        is ahead, and 0 if it is behind by up to ``UNSURE``, which may be a delay.
        """
        if now - self._since > WINDOW:
            self._before, self._now, self._since = self._now, float("inf"), now
        self._now = min(self._now, apart)
        return self.seconds

    @property
    def seconds(self) -> float:
        """The skew, in seconds."""
        least = min(self._before, self._now)
        return least if least < 0 or least > UNSURE else 0.0


class EmitterStats:
    """Adds up the counts of emitters, each of which begins at 0.

    Args:
        began: start of counting, in seconds since the epoch; default now.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self, began: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, int], JSONObject] = OrderedDict()
        self._hosts: OrderedDict[str, Skew] = OrderedDict()
        #: Counts of all emitters since ``began``.
        self.totals = dict.fromkeys(COUNTS, 0)
        self._began = time.time() if began is None else began

    def note(self, told: JSONObject, apart: float) -> float:
        """Add an emitter's report to the totals.

        Args:
            told: ``host``, ``pid``, ``since`` (its start, in seconds since the epoch), its counts.
            apart: seconds between the event's time and now.

        Returns:
            Seconds that the event took, corrected by the clock skew of the host.
        """
        key = (told["host"], told["pid"])
        before = self._known.pop(key, None)
        if before is None or before["since"] != told["since"]:
            # Of an emitter older than this server, only what follows its first report is counted.
            before = dict.fromkeys(COUNTS, 0) if told["since"] >= self._began else told
        self._known[key] = told
        _bound(self._known, MAX_EMITTERS)
        for name in COUNTS:
            self.totals[name] += max(0, told.get(name, 0) - before.get(name, 0))
        return max(0.0, apart - self._skew(told["host"], apart))

    @property
    def held(self) -> int:
        """Bytes of memory of unsent events in all emitters, by the latest report of each."""
        return sum(told.get("held", 0) for told in self._known.values())

    def _skew(self, host: str, apart: float) -> float:
        now = self._clock()
        skew = self._hosts.pop(host, None) or Skew(now)
        self._hosts[host] = skew
        _bound(self._hosts, MAX_HOSTS)
        return skew.note(apart, now)

    def skews(self) -> dict[str, float]:
        """Return by how many seconds the clock of each host is behind; ahead where negative."""
        return {host: skew.seconds for host, skew in self._hosts.items()}


def _bound(known: OrderedDict[K, V], most: int) -> None:
    if len(known) > most:
        known.popitem(last=False)
