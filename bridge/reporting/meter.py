"""``Meter``: samples a progress bar of any library, and computes its rate and remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, SupportsFloat

from bridge.protocol.event import cut
from bridge.protocol.json_types import BarData
from bridge.reporting.moving_average import MovingAverage

__all__ = ["Meter", "Reading", "finite"]

#: Time constant of the rate that is shown, in seconds.
SMOOTHING = 3.0
#: Time constant of the rate that the remaining time follows from, in seconds, and as a part of the
#: time since the first step, where that is longer: what comes resembles the whole run more than
#: its last seconds. ``benchmarks/estimates.py --constants`` compares other values.
MEMORY = 10.0
MEMORY_SHARE = 0.25
#: Longest text of a bar, in characters and in bytes of JSON, so that a runaway postfix cannot fill
#: an event: 32 bars of three texts each fit.
MAX_TEXT = 200
MAX_TEXT_BYTES = 480
#: Largest number of a bar; sums and quotients of such numbers are still finite.
MAX_NUMBER = 1e150
#: Longest remaining time that is sent, in seconds: that of a stalled bar grows without bound.
MAX_ETA = 1e9


class Reading(NamedTuple):
    """The values of a bar at one moment.

    As an application has set them, they may have any type; :class:`Meter` cleans them.
    """

    n: float
    total: float | None = None
    desc: str = ""
    postfix: str = ""
    unit: str = "it"
    unit_scale: bool | float = False


class Meter:
    """Samples a bar: smooths its rate, and computes its remaining time.

    An interval ends when a sample finds that the bar has moved. The first one is left out of the
    remaining time as soon as there is a second: it holds what is done only once, as a model that
    is loaded. The steps of a slow bar, and short pauses, do not change the remaining time.

    Args:
        read: returns the bar's reading; None once the bar is garbage-collected.
        leave: whether the finished bar stays visible until another bar takes its line; None
            keeps only the bar of the first line, as with tqdm; default True.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        read: Callable[[], Reading | None],
        *,
        leave: bool | None = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.leave = leave
        self.closed = False
        #: Number of the step that the bar was made in; None outside of any.
        self.step: int | None = None
        #: Smoothed rate, in units a second; None while unknown.
        self.rate: float | None = None
        self._read = read
        self._clock = clock
        self._reading = _clean(read() or Reading(0))
        self._sampled: tuple[Reading, bool] | None = None
        self._restart()

    def _restart(self) -> None:
        self._started = self._clock()
        self._forget(self._started)

    def _forget(self, now: float) -> None:
        self._moved_at, self._moved_to = now, self._reading.n
        self._intervals = 0
        self._recent = MovingAverage(SMOOTHING)
        self._lasting = MovingAverage(MEMORY, MEMORY_SHARE)

    def reset(self) -> None:
        """Restart elapsed time and rate from now."""
        self._look()
        self.rate = None
        self._restart()

    def unpause(self) -> None:
        """Leave the time since the last sample that found the bar moved out of the rate."""
        self._moved_at = self._clock()

    def close(self) -> None:
        """Take a last reading of the bar, and drop the reference to it."""
        if not self.closed:
            self._look()
            self.closed = True
            self._read = lambda: None

    @property
    def reading(self) -> Reading:
        """The bar's current values, cleaned: finite numbers and short texts."""
        self._look()
        return self._reading

    def over(self) -> bool:
        """Read the bar; return whether it was closed or garbage-collected."""
        self._look()
        return self.closed

    def changed(self) -> bool:
        """Read the bar; return whether its values differ from those of the last sample."""
        self._look()
        return (self._reading, self.closed) != self._sampled

    def sample(self, position: int) -> BarData:
        """Read the bar, update its rate, and return it as a bar of a ``progress`` event."""
        self._look()
        reading = self._reading
        self._sampled = (reading, self.closed)
        elapsed = self._advance(reading.n)
        bar: BarData = {
            "position": position,
            "desc": reading.desc,
            "unit": reading.unit,
            "unit_scale": reading.unit_scale,
            "n": reading.n,
            "total": reading.total,
            "postfix": reading.postfix,
            "rate": self.rate and round(max(0.0, self.rate), 3),
            "eta": self._eta(reading),
            "elapsed": round(elapsed, 3),
            "closed": self.closed,
        }
        if self.step is not None:
            bar["step"] = self.step
        return bar

    def _look(self) -> None:
        reading = self._read()
        if reading is None:
            self.closed = True
        else:
            self._reading = _clean(reading)

    def _advance(self, n: float) -> float:
        now = self._clock()
        if (passed := now - self._moved_at) > 0:
            if n < self._moved_to:
                self._forget(now)
            elif n > self._moved_to:
                self._move(n, now, passed)
            self.rate = self._recent.rate(now - self._moved_at) or 0.0
        return now - self._started

    def _move(self, n: float, now: float, passed: float) -> None:
        rate = finite((n - self._moved_to) / passed) or 0.0
        self._moved_at, self._moved_to = now, n
        self._intervals += 1
        if self._intervals == 2:
            self._lasting = MovingAverage(MEMORY, MEMORY_SHARE)
        self._recent.add(rate, passed)
        self._lasting.add(rate, passed)

    def _eta(self, reading: Reading) -> float | None:
        rate = self._lasting.rate(self._clock() - self._moved_at)
        if reading.total is None or not rate:
            return None
        left = max(0.0, reading.total - reading.n)
        return round(left / rate, 1) if left < MAX_ETA * rate else None


def _clean(reading: Reading) -> Reading:
    n, total, desc, postfix, unit, unit_scale = reading
    return Reading(
        finite(n) or 0,
        None if total is None else finite(total),
        # tqdm's set_description() adds the colon that it draws.
        _text(desc).removesuffix(": "),
        _text(postfix),
        _text(unit),
        unit_scale is not False and bool(finite(unit_scale)),
    )


def finite(value: SupportsFloat) -> float | None:
    """Return a value as a plain int or float; None for NaN, infinity and what is not a number."""
    try:
        number = float(value)
    except Exception:  # noqa: BLE001 - __float__ of any class
        return None
    if not -MAX_NUMBER <= number <= MAX_NUMBER:
        return None
    return value if type(value) is int else number


def _text(value: object) -> str:
    try:
        return "" if value is None else cut(str(value)[:MAX_TEXT], MAX_TEXT_BYTES)
    except Exception:  # noqa: BLE001 - __str__ of any class
        return ""
