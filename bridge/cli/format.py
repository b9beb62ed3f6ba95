"""Formats numbers, times and bars for people; reads times as people write them."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from bridge.protocol.json_types import BarData

__all__ = [
    "COLOURS",
    "WIDE",
    "amount",
    "counts",
    "duration",
    "fitted",
    "percent",
    "saved",
    "speed",
    "time_of",
    "total_of",
    "width_of",
]

#: Columns of a bar at a terminal, by their place.
SPINNER, TEXT, BAR, PERCENT, COUNTS, SPEED, LEFT = range(7)
#: Columns that are left out where there is too little room, the first one first.
OPTIONAL = (SPEED, COUNTS, LEFT, PERCENT, SPINNER)
#: Widths in characters: of a bar, and the least ones of a bar and of a text beside it.
WIDE, LEAST_BAR, LEAST_TEXT = 40, 8, 16

#: A time ago, and its units.
AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

COLOURS = {
    "queued": "dim",
    "running": "cyan",
    "retrying": "yellow",
    "cancelling": "yellow",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "lost": "red",
}


def duration(seconds: float | None) -> str:
    """Return seconds as ``7s``, ``1:05`` or ``2:03:04``; a dash for None."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def saved(at: float | None) -> str:
    """Return when a checkpoint was stored: ``saved 12:03:04``, local time; nothing for None."""
    return "" if at is None else time.strftime("saved %H:%M:%S", time.localtime(at))


def amount(value: float, *, scale: bool) -> str:
    """Return a number, with an SI prefix (k, M, G, T) if ``scale``."""
    if scale:
        for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
            if abs(value) >= 0.9995 * size:  # less rounds to below 1000 of the next smaller
                scaled = value / size
                return f"{scaled:.0f}{prefix}" if abs(scaled) >= 100 else f"{scaled:.3g}{prefix}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def total_of(bar: BarData) -> float | None:
    """Return a bar's total; None for 0 too, of work that was not counted yet or has no size."""
    total = bar.get("total")
    return total if total is not None and total > 0 else None


def counts(bar: BarData) -> str:
    """Return how far a bar is: ``12/40 file``, or with SI prefixes ``193M/823MB``."""
    scale, total = bool(bar.get("unit_scale")), total_of(bar)
    done = amount(bar["n"], scale=scale)
    most = "" if total is None else f"/{amount(total, scale=scale)}"
    unit = bar.get("unit") or "it"
    return f"{done}{most}{'' if scale else ' '}{unit}"


def percent(bar: BarData) -> int | None:
    """Return whole percent, or None for a bar without a total, or with one of 0."""
    if (total := total_of(bar)) is None:
        return None
    return max(0, min(100, int(100 * bar["n"] / total)))


def speed(bar: BarData) -> str:
    """Return a bar's rate: ``1.2MB/s`` or ``40 file/s``; nothing while unknown."""
    if not (rate := bar.get("rate")):
        return ""
    gap = "" if bar.get("unit_scale") else " "
    return f"{amount(rate, scale=True)}{gap}{bar.get('unit') or 'it'}/s"


def fitted(natural: Sequence[int], most: int) -> list[int]:
    """Return the widths of the columns, 0 for those that are left out.

    Args:
        natural: their widths if there is room enough.
        most: width of the terminal.
    """
    widths = list(natural)
    widths[TEXT], widths[BAR] = min(natural[TEXT], LEAST_TEXT), LEAST_BAR
    for place in OPTIONAL:
        if width_of(widths) <= most:
            break
        widths[place] = 0
    room = most - width_of(widths) + widths[TEXT] + LEAST_BAR
    widths[TEXT] = max(min(natural[TEXT], room - max(LEAST_BAR, min(WIDE, room // 3))), 0)
    widths[BAR] = max(1, min(WIDE, room - widths[TEXT]))
    return widths


def width_of(widths: Sequence[int]) -> int:
    """Return the width of columns with a space between any two."""
    shown = [width for width in widths if width]
    return sum(shown) + max(0, len(shown) - 1)


def time_of(text: str, now: datetime | None = None) -> float:
    """Return a time in seconds since the epoch.

    Args:
        text: ``today`` or ``yesterday`` (their midnight), a time ago such as ``90m`` or ``2d``, or
            a date or time such as ``2026-11-28`` or ``2026-11-28T14:30``, in local time unless it
            says a zone.
        now: the current time; default the system's.

    Raises:
        ValueError: it is none of these.
    """
    now = now or datetime.now().astimezone()
    if text in ("today", "yesterday"):
        day = now.date() - timedelta(days=text == "yesterday")
        return datetime(day.year, day.month, day.day, tzinfo=now.tzinfo).timestamp()
    if match := AGO.fullmatch(text):
        return (now - timedelta(**{UNITS[match[2]]: float(match[1])})).timestamp()
    try:
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: write today, yesterday, 90m, 2d, 2026-11-28 or 2026-11-28T14:30"
        ) from None
    return (found if found.tzinfo else found.astimezone()).timestamp()
