"""Whose turn it is: what a server knows is touched by one at a time.

Greenlets have their turns by themselves: one runs until it waits for something. Under threads, a
lock gives as much; who waits for something while it has its turn lets others have theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Cooperative", "Turn", "new_turn"]


class Turn:
    """A lock for threads, to be held in a ``with`` block, several times over if need be."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mine = threading.local()

    def __enter__(self) -> None:
        depth = getattr(self._mine, "depth", 0)
        if not depth:
            self._lock.acquire()
        self._mine.depth = depth + 1

    def __exit__(self, *_: object) -> None:
        self._mine.depth -= 1
        if not self._mine.depth:
            self._lock.release()

    def outside(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what a call returns that may wait, made while others have their turn."""
        depth, self._mine.depth = getattr(self._mine, "depth", 0), 0
        if depth:
            self._lock.release()
        try:
            return call(*arguments, **options)
        finally:
            if depth:
                self._lock.acquire()
            self._mine.depth = depth


class Cooperative(Turn):
    """For greenlets, which need none."""

    def __init__(self) -> None:
        """Need nothing."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def outside(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Return what the call returns."""
        return call(*arguments, **options)


def new_turn(async_mode: str) -> Turn:
    """Return what a mode of python-socketio needs."""
    return Turn() if async_mode == "threading" else Cooperative()
