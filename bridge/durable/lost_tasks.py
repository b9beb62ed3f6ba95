"""A thread of the worker's main process, to publish retries of tasks whose pool process died."""

from __future__ import annotations

import os
from _queue import SimpleQueue
from collections.abc import Callable

from bridge.results.call_thread import Call, CallThread

__all__ = ["publish"]

#: Queue of the thread of each process, by process id: no thread survives a fork.
_calls: dict[int, SimpleQueue[Call]] = {}


def publish(call: Callable[[], None]) -> None:
    """Publish a retry on the thread, in order; a fork waits up to a second for a call under way.

    Args:
        call: publishes the retry, and raises nothing.
    """
    if (calls := _calls.get(os.getpid())) is None:
        calls = _calls[os.getpid()] = SimpleQueue()
        CallThread(calls)
    calls.put(Call(call, 0.0, keep=True))
