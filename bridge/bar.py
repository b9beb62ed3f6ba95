"""A bar: a progress meter inside a task. Pure counters; somebody else samples them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from bridge.events import cut

__all__ = ["Bar"]

T = TypeVar("T")

#: Seconds over which the rate is smoothed: old samples have lost two thirds of their weight after
#: it. Samples come at uneven intervals, so the weight follows time and not their number.
SMOOTHING = 3.0
#: Longest text of a bar, in characters and in bytes of JSON, so that a runaway postfix cannot fill
#: an event: 32 bars of three texts each fit.
MAX_TEXT = 200
MAX_TEXT_BYTES = 480
#: Largest number of a bar; sums and quotients of such are still finite.
MAX_NUMBER = 1e150
#: Longest time to the end, in seconds, that is worth showing: that of a stalled bar nears infinity.
MAX_ETA = 1e9


class Bar(Generic[T]):
    """A bar with tqdm's habits whose state is read by the sampler of the job it belongs to.

    Iterating or calling :meth:`update` only counts; nothing is sent, locked or formatted on the
    task's thread.

    Args:
        iterable: what to iterate over; may be None for a bar moved by :meth:`update`.
        desc: text in front of the bar.
        total: expected number of units; default ``len(iterable)``, None when unknown.
        leave: whether the finished bar stays visible until another takes its place.
        unit: name of one unit.
        unit_scale: whether numbers are shown with SI prefixes.
        initial: where the counter starts.
        position: line of the bar; given by the job.
        check: called before each step; raises when the job was cancelled.
        on_close: called once when the bar is closed.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        iterable: Iterable[T] | None = None,
        desc: str | None = None,
        total: float | None = None,
        leave: bool | None = True,
        *,
        unit: str = "it",
        unit_scale: bool = False,
        initial: float = 0,
        position: int = 0,
        postfix: dict[str, Any] | None = None,
        check: Callable[[], None] = lambda: None,
        on_close: Callable[[Bar[Any]], None] = lambda bar: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.iterable = iterable
        self.desc = desc or ""
        self.total = _length(iterable) if total is None else total
        self.leave = leave
        self.unit = unit
        self.unit_scale = unit_scale
        self.initial = initial
        self.n: float = initial
        self.position = position
        self.closed = False
        self._postfix = ""
        self._check = check
        self._on_close = on_close
        self._clock = clock
        self._started = self._sampled_at = clock()
        self._sampled_n = initial
        self._rate: float | None = None
        if postfix:
            self.set_postfix(postfix)

    def __iter__(self) -> Iterator[T]:
        if self.iterable is None:
            raise TypeError("this bar has no iterable: give it one, or move it with update()")
        check = self._check
        try:
            for item in self.iterable:
                check()
                yield item
                self.n += 1
        finally:
            self.close()

    def __len__(self) -> int:
        return max(0, min(int(_finite(self.total) or 0), sys.maxsize))

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, n: float | None = 1) -> None:
        """Move the bar by ``n`` units, which may be negative or fractional.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        self._check()
        self.n += 1 if n is None else n

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        """Set the text in front of the bar."""
        self.desc = desc or ""

    set_description_str = set_description

    def set_postfix(
        self, ordered_dict: dict[str, Any] | None = None, refresh: bool | None = True, **more: Any
    ) -> None:
        """Set the text behind the bar from names and values."""
        values = {**(ordered_dict or {}), **more}
        self._postfix = ", ".join(f"{name}={_short(value)}" for name, value in values.items())

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        """Set the text behind the bar."""
        self._postfix = str(s)

    def reset(self, total: float | None = None) -> None:
        """Start again from ``initial``, with another total if one is given."""
        self.n = self._sampled_n = self.initial
        self._started = self._sampled_at = self._clock()
        self._rate = None
        if total is not None:
            self.total = total

    def refresh(self, *_: Any, **__: Any) -> None:
        """Do nothing: a bar is sampled all the time."""

    clear = refresh

    def close(self) -> None:
        """End the bar. Calling it again does nothing."""
        if not self.closed:
            self.closed = True
            self._on_close(self)

    def sample(self) -> dict[str, Any]:
        """Return the bar's state as it travels, and advance its smoothed rate."""
        n, total, desc, postfix, closed = self._shown()
        elapsed, rate = self._advance(n), self._rate
        return {
            "position": self.position,
            "desc": desc,
            "unit": _text(self.unit),
            "unit_scale": bool(self.unit_scale),
            "n": n,
            "total": total,
            "postfix": postfix,
            "rate": rate and round(max(0.0, rate), 3),
            "eta": self._eta(n, total),
            "elapsed": round(elapsed, 3),
            "closed": closed,
        }

    def changed(self, sampled: dict[str, Any]) -> bool:
        """Whether anything that a person sees differs from an earlier sample."""
        shown = tuple(sampled[key] for key in ("n", "total", "desc", "postfix", "closed"))
        return self._shown() != shown

    def _shown(self) -> tuple[float, float | None, str, str, bool]:
        # Code that knows tqdm assigns to these, and not always what it should.
        n, total = _finite(self.n) or 0, _finite(self.total)
        return n, total, _text(self.desc), _text(self._postfix), self.closed

    def _advance(self, n: float) -> float:
        now = self._clock()
        if (passed := now - self._sampled_at) > 0:
            rate = _finite((n - self._sampled_n) / passed) or 0.0
            weight = 1.0 if self._rate is None else 1.0 - math.exp(-passed / SMOOTHING)
            self._rate = weight * rate + (1.0 - weight) * (self._rate or 0.0)
            self._sampled_at, self._sampled_n = now, n
        return now - self._started

    def _eta(self, n: float, total: float | None) -> float | None:
        if total is None or not self._rate or self._rate < 0:
            return None
        eta = max(0.0, total - n) / self._rate
        return round(eta, 1) if eta < MAX_ETA else None


def _length(iterable: object) -> int | None:
    try:
        return len(iterable)  # type: ignore[arg-type]
    except (TypeError, AttributeError):
        return None


def _finite(value: Any) -> float | None:
    """Return a plain finite number for what may be numpy's, NaN, None or no number at all."""
    try:
        number = float(value)
    except Exception:  # noqa: BLE001 - anybody's __float__
        return None
    if not -MAX_NUMBER <= number <= MAX_NUMBER:
        return None
    return value if type(value) is int else number


def _text(value: Any) -> str:
    return "" if value is None else cut(str(value)[:MAX_TEXT], MAX_TEXT_BYTES)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
