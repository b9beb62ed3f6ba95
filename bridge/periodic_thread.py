"""``PeriodicThread``: calls functions for running tasks in turn, on a thread of its own.

The calls may wait for a broker or a result backend, which must not delay a task or a bar.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

__all__ = ["PeriodicThread"]

logger = logging.getLogger(__name__)

#: Seconds between two rounds of calls.
INTERVAL = 1.0


class PeriodicThread:
    """Calls its functions again and again; it sleeps while it has none.

    Args:
        name: name of the thread.
        complaint: warning that is logged when a call fails, and not again until a call succeeds;
            ``%s`` is the error.
        interval: seconds between two rounds of calls; default 1.
    """

    def __init__(self, name: str, complaint: str, interval: float = INTERVAL) -> None:
        self._name, self._complaint, self._interval = name, complaint, interval
        self._calls: dict[str, Callable[[], None]] = {}
        #: What wakes the thread, by the id of its process: no thread survives a fork.
        self._wakes: dict[int, threading.Event] = {}
        self._failing = False

    def add(self, key: str, call: Callable[[], None]) -> None:
        """Call a function in each round from now on."""
        self._calls[key] = call
        new = threading.Event()
        # Of several callers at once, one starts the thread. A fork could leave a lock locked.
        wake = self._wakes.setdefault(os.getpid(), new)
        if wake is new:
            threading.Thread(target=self._loop, args=(wake,), name=self._name, daemon=True).start()
        wake.set()

    def remove(self, key: str) -> None:
        """Stop calling the function with this key."""
        self._calls.pop(key, None)

    def _loop(self, wake: threading.Event) -> None:
        pause = threading.Event()
        while True:
            if not self._calls:
                wake.wait()
            wake.clear()
            pause.wait(self._interval)
            for call in list(self._calls.values()):
                self._call(call)

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
            self._failing = False
        except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
            if not self._failing:
                logger.warning(self._complaint, error)
            self._failing = True
