"""Calls to the result backend, on a thread of their own and with a bound on every wait.

A result backend may accept a connection and never answer, and few client libraries bound that. So
no part of taskbridge calls one on its own thread. One thread per process and backend does, in the
order of the calls. While it is stuck, other calls fail at once; after a pause a fresh thread, with
connections of its own, tries again. The number of stuck threads is bounded.
"""

from __future__ import annotations

import os
import threading
import time
from _queue import SimpleQueue  # not queue's: eventlet and gevent replace that
from collections.abc import Callable
from functools import partial
from typing import Any

from bridge.errors import ResultsUnavailable
from bridge.results.call_thread import SILENT, Call, Worker

__all__ = ["PATIENCE", "SILENT", "Aside", "Call", "aside_for"]

#: Seconds that a caller waits for the result backend, by default and at most.
PATIENCE = 2.0
#: Seconds after which a fresh thread takes a stuck one's place: at first, and at most.
PAUSE = (5.0, 300.0)
#: Stuck threads that are left behind at most.
MAX_STUCK = 8
#: Calls that may be queued while the backend does not answer; their callers do not wait.
MAX_KEPT = 10_000


class Aside:
    """Makes calls on a thread of its own, one after the other. Safe to share between threads."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Call] = SimpleQueue()
        # Held by callers alone, never on the thread: under eventlet it is a lock of greenlets.
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._stuck: list[Worker] = []
        self._renew_at = 0.0
        self._pause = PAUSE[0]

    def ask(self, call: Callable[..., Any], *arguments: Any, within: float = PATIENCE) -> Any:
        """Return what ``call(*arguments)`` returns.

        Args:
            call: what may block.
            arguments: its positional arguments.
            within: seconds to wait at most.

        Raises:
            ResultsUnavailable: there is no answer in time, or an earlier call is stuck.
            Exception: whatever the call raises.
        """
        one = Call(partial(call, *arguments), within, keep=False)
        if not self._ready(within):
            raise ResultsUnavailable(SILENT)
        self._calls.put(one)
        return one.wait()

    def begin(self, call: Callable[..., Any], *arguments: Any, within: float = PATIENCE) -> Call:
        """Have ``call(*arguments)`` made, however long that takes; return it to be waited for.

        Args:
            call: what may block.
            arguments: its positional arguments.
            within: seconds that the answer is waited for at most; none while an earlier call is
                stuck.

        Raises:
            ResultsUnavailable: too many calls wait already.
        """
        ready = self._ready(within)
        if self._calls.qsize() >= MAX_KEPT:
            raise ResultsUnavailable(SILENT)
        one = Call(partial(call, *arguments), within if ready else 0.0, keep=True)
        self._calls.put(one)
        return one

    def _ready(self, within: float) -> bool:
        """Whether a thread is there that no call has held up for so many seconds."""
        with self._lock:
            if self._worker is None:
                self._worker = Worker(self._calls)
            begun, now = self._worker.begun, time.monotonic()
            if begun is None:
                # What is stuck may end at any time; its thread ends with it.
                self._stuck = [one for one in self._stuck if one.begun is not None]
                self._pause = PAUSE[0]
                return True
            return now < begun + min(within, PATIENCE) or self._renew(begun, now)

    def _renew(self, begun: float, now: float) -> bool:
        """Put a fresh thread in a stuck one's place, if it is time for that."""
        self._stuck = [one for one in self._stuck if one.begun is not None]
        if now < max(self._renew_at, begun + PAUSE[0]) or len(self._stuck) >= MAX_STUCK:
            return False
        assert self._worker is not None
        self._worker.replaced = True
        self._stuck.append(self._worker)
        self._worker = Worker(self._calls)
        self._renew_at = now + self._pause
        self._pause = min(2 * self._pause, PAUSE[1])
        return True


_asides: dict[tuple[int, str], Aside] = {}


def aside_for(app: Any) -> Aside:
    """Return what calls the result backend of a Celery application, in this process."""
    key = os.getpid(), str(app.conf.result_backend)  # no thread survives a fork
    return _asides.get(key) or _asides.setdefault(key, Aside())
