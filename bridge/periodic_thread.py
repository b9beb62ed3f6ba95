"""What is done once a second about running tasks, on a thread of its own.

It may wait for a broker or a result backend, for which no task and no bar is to wait.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

__all__ = ["Ticker"]

logger = logging.getLogger(__name__)

#: Seconds between two rounds.
INTERVAL = 1.0


class Ticker:
    """Calls what is to be done, as long as there is any.

    Args:
        name: of the thread.
        complaint: what is logged, once, when a call fails; ``%s`` is the error.
    """

    def __init__(self, name: str, complaint: str) -> None:
        self._name, self._complaint = name, complaint
        self._calls: dict[str, Callable[[], None]] = {}
        self._wake = threading.Event()
        self._thread: tuple[int, threading.Thread] | None = None
        self._failing = False

    def add(self, key: str, call: Callable[[], None]) -> None:
        """Call this once a second from now on."""
        self._calls[key] = call
        if self._thread is None or self._thread[0] != os.getpid():  # none survives a fork
            self._wake = threading.Event()
            thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
            self._thread = (os.getpid(), thread)
            thread.start()
        self._wake.set()

    def remove(self, key: str) -> None:
        """Call it no more."""
        self._calls.pop(key, None)

    def _loop(self) -> None:
        pause = threading.Event()
        while True:
            if not self._calls:
                self._wake.wait()
            self._wake.clear()
            pause.wait(INTERVAL)
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
