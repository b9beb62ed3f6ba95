"""What the processes that report tell about themselves, and how far their clocks are off. Pure."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

__all__ = ["Emitters"]

#: Processes, and hosts, that are remembered; of the others, only what they add up to.
MAX_EMITTERS, MAX_HOSTS = 10_000, 1_000
#: What an emitter counts; those of older workers know only the first three.
COUNTS = (
    "published",
    "failures",
    "dropped",
    "dropped_pushes",
    "dropped_events",
    "dropped_ends",
    "shortened_ends",
)
#: Seconds in which some event of a host has come without delay.
WINDOW = 60.0
#: Seconds by which a host's clock may be behind without being told from a delay.
UNSURE = 0.5


class Skew:
    """How far one host's clock is from ours: by as much as its quickest event of late tells."""

    __slots__ = ("_before", "_now", "_since")

    def __init__(self, now: float) -> None:
        self._before = self._now = float("inf")
        self._since = now

    def note(self, apart: float, now: float) -> float:
        """Take in the time between an event's time and its arrival; return the skew in seconds.

        What came quickest took next to no time. It is negative where the host's clock is ahead;
        where it is a little behind, nobody can tell that from a delay, and it is 0.
        """
        if now - self._since > WINDOW:
            self._before, self._now, self._since = self._now, float("inf"), now
        self._now = min(self._now, apart)
        return self.seconds

    @property
    def seconds(self) -> float:
        """The skew."""
        least = min(self._before, self._now)
        return least if least < 0 or least > UNSURE else 0.0


class Emitters:
    """Adds up what emitters count, each of which begins at 0.

    Args:
        began: since when is counted, in seconds since the epoch; default now.
        clock: monotonic seconds.
    """

    def __init__(
        self, began: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._known: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()
        self._hosts: OrderedDict[str, Skew] = OrderedDict()
        #: Counts of all of them since this server began.
        self.totals = dict.fromkeys(COUNTS, 0)
        self._began = time.time() if began is None else began

    def note(self, told: dict[str, Any], apart: float) -> float:
        """Take in what an emitter tells.

        Args:
            told: ``host``, ``pid``, ``since``, the second at which it began, and its counts.
            apart: seconds between the event's time and now.

        Returns:
            Seconds that the event took, corrected by how far the host's clock is off.
        """
        key = (told["host"], told["pid"])
        before = self._known.pop(key, None)
        if before is None or before["since"] != told["since"]:
            # What was counted before this server began is none of its business.
            before = dict.fromkeys(COUNTS, 0) if told["since"] >= self._began else told
        self._known[key] = told
        _bound(self._known, MAX_EMITTERS)
        for name in COUNTS:
            self.totals[name] += max(0, told.get(name, 0) - before.get(name, 0))
        return max(0.0, apart - self._skew(told["host"], apart))

    @property
    def held(self) -> int:
        """Bytes of memory of what all of them had not sent yet, by their last word."""
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


def _bound(known: OrderedDict[Any, Any], most: int) -> None:
    if len(known) > most:
        known.popitem(last=False)
