"""An audit: asking the result backend for ends that workers could not tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from socket_server.journal import Journal
from socket_server.verdicts import Verdicts

__all__ = ["Audit"]

#: Seconds after a notice of lost ends at which the result backend is asked: at first, what was not
#: lost may still be on its way.
DELAYS = (5.0, 30.0, 120.0, 600.0)


class Audit:
    """Looks up all tasks that have not ended once emitters tell that ends were dropped.

    An emitter whose outbox was full knows how many ends it has dropped, and not of which tasks.

    Args:
        journal: what the server knows.
        verdicts: asks the result backend, and tells the clients.
        notices: returns how often ends were told to be lost.
        sio: starts background tasks and lets others go on.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        journal: Journal,
        verdicts: Verdicts,
        notices: Callable[[], int],
        sio: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._verdicts, self._notices = journal, verdicts, notices
        self._sio, self._clock = sio, clock
        self._seen = 0
        self._due: list[float] = []
        self._running = False

    def look(self) -> None:
        """Begin an audit if one is due; called every second."""
        now = self._clock()
        if (notices := self._notices()) > self._seen:
            self._seen = notices
            self._due = [now + delay for delay in DELAYS]
        if self._due and now >= self._due[0] and not self._running:
            self._due.pop(0)
            self._running = True
            self._sio.start_background_task(self._run)

    def _run(self) -> None:
        try:
            for job, task in self._open():
                self._verdicts.settle(job, task)
                self._sio.sleep(0)
        finally:
            self._running = False

    def _open(self) -> list[tuple[str, str]]:
        """Return the jobs and ids of all tasks that have not ended."""
        with self._sio.turn:
            return [
                (snapshot.job, task.task)
                for snapshot in self._journal.snapshots()
                if not snapshot.ended
                for task in snapshot.open_tasks()
            ]
