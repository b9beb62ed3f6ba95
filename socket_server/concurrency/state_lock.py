"""The state lock: one thread at a time reads or changes the server's state.

Greenlets need none, since one runs until it waits for something. Under threads a lock does the
same, and is released around calls that may wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import ParamSpec, TypeVar

__all__ = ["NoLock", "StateLock", "new_state_lock"]

P = ParamSpec("P")
T = TypeVar("T")


class StateLock:
    """The state lock for threads: reentrant, held in a ``with`` block."""

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

    def outside(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Make a call that may wait with the lock released; return what it returns."""
        depth, self._mine.depth = getattr(self._mine, "depth", 0), 0
        if depth:
            self._lock.release()
        try:
            return call(*arguments, **options)
        finally:
            if depth:
                self._lock.acquire()
            self._mine.depth = depth


class NoLock(nullcontext[None], StateLock):
    """The state lock for greenlets, which does nothing."""

    def outside(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Make a call; return what it returns."""
        return call(*arguments, **options)


def new_state_lock(async_mode: str) -> StateLock:
    """Return the state lock for an async mode of python-socketio."""
    return StateLock() if async_mode == "threading" else NoLock()
