"""A clock that tests tick."""

from __future__ import annotations

__all__ = ["Clock"]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def tick(self, seconds: float) -> None:
        """Let seconds pass."""
        self.now += seconds
