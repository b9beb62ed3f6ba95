"""Publishes retries after a pool process has died, on a thread; finds the worker's event loop."""

from __future__ import annotations

import os
from _queue import SimpleQueue
from collections.abc import Callable

from kombu.asynchronous import Hub

from bridge.results.call_thread import Call, CallThread
from bridge.untyped import CeleryWorker

__all__ = ["event_loop", "of_worker", "publish"]

#: Queue of the thread of each process, by process id: no thread survives a fork.
_calls: dict[int, SimpleQueue[Call]] = {}
#: The durable worker of this process; empty before one starts.
_workers: list[CeleryWorker] = []


def of_worker(worker: CeleryWorker) -> None:
    """Note the worker of this process, which need not have its event loop yet."""
    _workers[:] = [worker]


def event_loop() -> Hub | None:
    """Return the event loop of the worker; None for a worker without one, as with gevent.

    kombu's ``get_event_loop`` returns None from the first reconnect on.
    """
    return getattr(_workers[0], "hub", None) if _workers else None


def publish(call: Callable[[], None]) -> None:
    """Publish a retry on the thread, in order; a fork waits up to a second for a call under way.

    Args:
        call: publishes the retry, and raises nothing.
    """
    if (calls := _calls.get(os.getpid())) is None:
        calls = _calls[os.getpid()] = SimpleQueue()
        CallThread(calls)
    calls.put(Call(call, 0.0, keep=True))
