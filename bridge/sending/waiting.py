"""What waits to be sent, in queues that are bounded in bytes."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from typing import Any

from bridge.protocol.event import EventType
from bridge.reporting.task_run import Run
from bridge.sending.dropped_ends import Tally
from bridge.sending.entries import COUNTED, LATER, Held, Line, Push, Report, Summary
from bridge.sending.losses import Losses

__all__ = ["Waiting"]

logger = logging.getLogger(__name__)

#: Calls of ``flush`` that wait at a time; of more, the oldest run into their timeouts.
MAX_MARKS = 1_000


class Waiting:
    """Queues that any thread appends to, and the sender takes from.

    Each kind of entry has a queue of its own; a number says which of two entries came first. Beyond
    the bound the oldest entries of the first queue that is not empty are dropped and counted:
    lines, then own events, then lifecycle events. Of lifecycle events the ends of runs go last:
    first they are shortened to summaries, which take a tenth. Only when nothing but summaries is
    left they are dropped, and counted by job in a tally, which takes some MiB at most.

    Threads append without a lock, since appending to a deque and adding to a number cannot be
    interrupted by another thread. Whoever takes something out holds a lock: the sender for each
    entry, a task's thread only while something is dropped. So the end of a run is not told before
    all that it lost is counted.

    Args:
        max_bytes: bytes of memory that its entries may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        #: What was dropped so far.
        self.losses = Losses()
        # Reentrant: a signal handler of the task may log.
        self._lock = threading.RLock()
        self._dropping = self._overflowed = False
        self._order = itertools.count()
        self._lines: deque[Line] = deque()
        self._pushes: deque[Held] = deque()
        self._reports: deque[Held] = deque()
        #: Summaries of lifecycle events that are not the end of a run, and of ends.
        self._beginnings: deque[Summary] = deque()
        self._ends: deque[Summary] = deque()
        self._tally = Tally()
        self._marks: deque[Held] = deque(maxlen=MAX_MARKS)
        #: Bytes of memory of all that ever came in, and of all that went out.
        self._put_bytes = self._taken_bytes = 0

    @property
    def _queues(self) -> tuple[deque[Any], ...]:
        """All queues, in the order in which their entries are dropped; marks never are."""
        kept = self._lines, self._pushes, self._reports, self._beginnings, self._ends
        return (*kept, self._marks)

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    @property
    def held(self) -> int:
        """Bytes of memory that its entries take."""
        return self._put_bytes - self._taken_bytes

    @property
    def dropped(self) -> int:
        """Lines dropped so far."""
        return self.losses.lines

    def put(self, entry: Report | Push | threading.Event) -> None:
        """Take an entry in; what is not JSON is left out, with a line in the log."""
        if isinstance(entry, threading.Event):
            self._marks.append(Held(next(self._order), 0, entry))
            return
        try:
            held = Held.of(entry, next(self._order))
        except (TypeError, ValueError, RecursionError):
            logger.exception("taskbridge: data that is not JSON was dropped")
            if isinstance(entry, Push):
                return
            held = Held.of(entry._replace(data={}), next(self._order))
        self._put_bytes += held.size
        (self._pushes if isinstance(entry, Push) else self._reports).append(held)
        self._bound()

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, at: float, level: str = ""
    ) -> None:
        """Take a log line or a chunk in."""
        line = Line(run, kind, text, at, level, next(self._order))
        size = line.memory()  # a call within the addition would let another thread in between
        self._put_bytes += size
        self._lines.append(line)
        self._bound()

    def _bound(self) -> None:
        """Drop what is beyond the bound."""
        if self.held <= self.max_bytes:
            return
        with self._lock:
            if self._dropping:
                return  # in a signal handler that interrupts the loop below, which goes on
            self._dropping = True
            try:
                while self.held > self.max_bytes and self._drop_one():
                    pass
            finally:
                self._dropping = False

    def _drop_one(self) -> bool:
        queue = next((queue for queue in self._queues[:-1] if queue), None)
        if queue is None:
            return False
        entry = self._pop(queue)
        self._overflowed = True
        if queue is self._lines:
            entry.run.dropped += 1
            self.losses.lines += 1
        elif queue is self._pushes:
            self.losses.note_push(entry.entry)
        elif queue is self._reports:
            self._shorten(entry)
        elif queue is self._beginnings:
            self.losses.events += 1
        else:
            self.losses.ends += 1
            self._tally.add(entry)
        return True

    def _pop(self, queue: deque[Any]) -> Any:
        entry = queue.popleft()
        size = entry.memory()
        self._taken_bytes += size
        return entry

    def _shorten(self, held: Held) -> None:
        """Hold the summary of a report; of `started` nothing, since more of its run will come."""
        report: Report = held.whole()
        if report.kind == "started":
            self.losses.events += 1
            told = {name: report.data[name] for name in COUNTED if name in report.data}
            report.run.skip(told)
            return
        summary = Summary.of(report, held.order)
        size = summary.memory()
        self._put_bytes += size
        ends = report.kind in LATER
        self.losses.shortened += ends
        (self._ends if ends else self._beginnings).append(summary)

    def _next(self) -> Line | Held | Summary | None:
        """Take the oldest entry out; a report stays until :meth:`_report` takes it."""
        with self._lock:
            first = min((q for q in self._queues if q), key=_order_of_first, default=None)
            if first is None:
                return None
            entry: Line | Held | Summary = first[0] if first is self._reports else self._pop(first)
            return entry


def _order_of_first(queue: deque[Any]) -> int:
    order: int = queue[0].order
    return order
