"""``BoundedCalls``: calls to the result backend, with a bound on every wait.

A result backend may accept a connection and never answer, and few client libraries bound that. So
threads that must not block leave the calls to one thread per process and backend, which makes them
in order. While it is stuck, other calls fail at once, or are queued; after a pause a new thread,
with connections of its own, tries again. The number of stuck threads is bounded.
"""

from __future__ import annotations

import os
import threading
import time
from _queue import SimpleQueue  # not queue's: eventlet and gevent replace that
from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple, cast

from bridge.errors import ResultsUnavailable
from bridge.results.call_thread import SILENT, Call, CallThread
from bridge.untyped import CeleryApp

__all__ = ["PATIENCE", "SILENT", "BoundedCalls", "Call", "bounded_calls_for"]

R = TypeVar("R")
Arguments = TypeVarTuple("Arguments")

#: Seconds that a caller waits by default; a thread whose call takes longer counts as stuck.
PATIENCE = 2.0
#: Seconds after which a new thread replaces a stuck one: at first, and at most.
PAUSE = (5.0, 300.0)
#: Largest number of stuck threads beside the current one.
MAX_STUCK = 8
#: Largest number of queued calls; while the backend does not answer, their callers do not wait.
MAX_KEPT = 10_000


class BoundedCalls:
    """Makes calls on a thread of its own, one after the other. It is thread-safe."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Call] = SimpleQueue()
        # Only callers take it, never the thread: under eventlet it is a lock of greenlets.
        self._lock = threading.Lock()
        self._worker: CallThread | None = None
        self._stuck: list[CallThread] = []
        self._renew_at = 0.0
        self._pause = PAUSE[0]

    def ask(
        self, call: Callable[[*Arguments], R], *arguments: *Arguments, within: float = PATIENCE
    ) -> R:
        """Return what ``call(*arguments)`` returns.

        Args:
            call: function that may block.
            arguments: its positional arguments.
            within: seconds to wait at most; default 2.

        Raises:
            ResultsUnavailable: there is no answer in time, or an earlier call is stuck.
            Exception: whatever the call raises.
        """
        one = Call(partial(call, *arguments), within, keep=False)
        if not self._ready(within):
            raise ResultsUnavailable(SILENT)
        self._calls.put(one)
        return cast("R", one.wait())

    def begin(
        self,
        call: Callable[[*Arguments], object],
        *arguments: *Arguments,
        within: float = PATIENCE,
    ) -> Call:
        """Queue ``call(*arguments)``, and return the call; it is made even if that takes long.

        Args:
            call: function that may block.
            arguments: its positional arguments.
            within: seconds that :meth:`Call.wait` waits at most; default 2, and 0 while an earlier
                call is stuck.

        Raises:
            ResultsUnavailable: too many calls wait already.
        """
        ready = self._ready(within)
        if self._calls.qsize() >= MAX_KEPT:
            raise ResultsUnavailable(SILENT)
        one = Call(partial(call, *arguments), within if ready else 0.0, keep=True)
        self._calls.put(one)
        return one

    def offer(self, call: Callable[[*Arguments], object], *arguments: *Arguments) -> Call | None:
        """Queue ``call(*arguments)`` and return the call; it is made even if that takes long.

        Returns:
            The call; None while an earlier call is stuck, or too many calls wait already.
        """
        if not self._ready(PATIENCE) or self._calls.qsize() >= MAX_KEPT:
            return None
        one = Call(partial(call, *arguments), PATIENCE, keep=True)
        self._calls.put(one)
        return one

    def _ready(self, within: float) -> bool:
        """Whether the thread is not stuck: its call takes less than ``within`` seconds so far."""
        with self._lock:
            if self._worker is None:
                self._worker = CallThread(self._calls)
            begun, now = self._worker.begun, time.monotonic()
            if begun is None:
                # A stuck call may return at any time, and its thread ends then.
                self._stuck = [one for one in self._stuck if one.begun is not None]
                self._pause = PAUSE[0]
                return True
            return now < begun + min(within, PATIENCE) or self._renew(begun, now)

    def _renew(self, begun: float, now: float) -> bool:
        """Replace the stuck thread if the pause is over; return whether that was done."""
        self._stuck = [one for one in self._stuck if one.begun is not None]
        if now < max(self._renew_at, begun + PAUSE[0]) or len(self._stuck) >= MAX_STUCK:
            return False
        assert self._worker is not None
        self._worker.replaced = True
        self._stuck.append(self._worker)
        self._worker = CallThread(self._calls)
        self._renew_at = now + self._pause
        self._pause = min(2 * self._pause, PAUSE[1])
        return True


_asides: dict[tuple[int, str, str], BoundedCalls] = {}


def bounded_calls_for(app: CeleryApp, use: str = "results") -> BoundedCalls:
    """Return this process's ``BoundedCalls`` for the result backend of a Celery application.

    Args:
        app: the application.
        use: what it is used for: calls of different uses do not wait for one another.
    """
    key = os.getpid(), str(app.conf.result_backend), use  # no thread survives a fork
    return _asides.get(key) or _asides.setdefault(key, BoundedCalls())
