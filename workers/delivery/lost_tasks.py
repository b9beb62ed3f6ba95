"""The thread on which a worker's main process publishes the retries of tasks that lost their pool
process.
"""

from __future__ import annotations

import os
from _queue import SimpleQueue
from collections.abc import Callable

from bridge.results.call_thread import Call, Worker

__all__ = ["publish"]

#: What each process publishes, by its id: no thread survives a fork.
_calls: dict[int, SimpleQueue[Call]] = {}


def publish(call: Callable[[], None]) -> None:
    """Have a retry published after those before it; a fork waits while that makes progress.

    Args:
        call: publishes it, and raises nothing.
    """
    if (calls := _calls.get(os.getpid())) is None:
        calls = _calls[os.getpid()] = SimpleQueue()
        Worker(calls)
    calls.put(Call(call, 0.0, keep=True))
