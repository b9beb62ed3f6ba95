"""Counting what comes and goes, without keeping those of whom nothing is left."""

from __future__ import annotations

from collections import Counter

__all__ = ["Tally"]


class Tally(Counter[str]):
    """How many there are of each."""

    def enter(self, name: str) -> None:
        """Count one more."""
        self[name] += 1

    def leave(self, name: str) -> None:
        """Count one less; of whom there is none, nothing is kept."""
        if self[name] > 1:
            self[name] -= 1
        else:
            del self[name]
