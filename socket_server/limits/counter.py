"""Counts per key; keys that reach zero are removed."""

from __future__ import annotations

from collections import Counter

__all__ = ["KeyedCounter"]


class KeyedCounter(Counter[str]):
    """A count for each name."""

    def enter(self, name: str) -> None:
        """Count one more."""
        self[name] += 1

    def leave(self, name: str) -> None:
        """Count one less, and remove the name at zero."""
        if self[name] > 1:
            self[name] -= 1
        else:
            del self[name]
