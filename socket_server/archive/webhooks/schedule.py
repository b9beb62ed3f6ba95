"""When a failed delivery is attempted again: exponential backoff, jitter, for a day. Pure."""

from __future__ import annotations

import random
from email.utils import parsedate_to_datetime

__all__ = ["LIFETIME", "next_attempt", "seconds_to_wait"]

#: Seconds after which a delivery is given up.
LIFETIME = 86_400.0
#: Seconds to the second attempt, and the longest pause between two.
FIRST, LONGEST = 5.0, 3600.0


def next_attempt(at: float, attempts: int, now: float, wait: float = 0.0) -> float | None:
    """Return when to attempt a delivery again; None if it is given up.

    The last attempt is made at the end of the lifetime, or later if the archive did not run then.

    Args:
        at: when it was queued, in seconds since the epoch.
        attempts: attempts that have failed.
        now: seconds since the epoch.
        wait: minimum seconds to the next attempt, as the endpoint asks; default 0.
    """
    end = at + LIFETIME
    if now >= end:
        return None
    pause = min(LONGEST, FIRST * 2.0 ** min(attempts - 1, 20)) * random.uniform(0.5, 1.0)
    return min(now + max(pause, wait), end)


def seconds_to_wait(header: str | None, now: float) -> float:
    """Return the seconds that a ``Retry-After`` header asks for, ``LIFETIME`` at most.

    Args:
        header: its value: seconds, or a date; None without one.
        now: seconds since the epoch.

    Returns:
        0 for a time that is over, for no header, and for one that is neither.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(LIFETIME, float(text[:9]))
    try:
        return min(LIFETIME, max(0.0, parsedate_to_datetime(text).timestamp() - now))
    except (TypeError, ValueError, OverflowError, IndexError):
        return 0.0
