"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two looks: short beside what a test waits for, long enough to cost no CPU.
INTERVAL = 0.05


def until(
    condition: Callable[[], T],
    timeout: float = 30.0,
    what: str = "the condition",
    *,
    interval: float = INTERVAL,
) -> T:
    """Call ``condition`` until it answers something true, and return that.

    Args:
        condition: what to ask; an exception of its own ends the wait at once.
        timeout: seconds.
        what: what is waited for, as it should read in the failure.
        interval: seconds between two calls.

    Raises:
        AssertionError: it did not hold in time; says what it answered last.
    """
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}; last answer: {answer!r}")
        time.sleep(interval)
    return answer
