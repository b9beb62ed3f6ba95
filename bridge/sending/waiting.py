"""``Waiting``: the queues of entries that wait to be sent, bounded in bytes of memory."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from typing import Protocol, SupportsIndex, TypeAlias, TypeVar

from bridge.protocol.event import EventType
from bridge.reporting.run import Run
from bridge.reporting.steps import Label
from bridge.sending.entries import COUNTED, LATER, Held, Line, Push, Report, Summary
from bridge.sending.losses import DroppedEnds, Losses

__all__ = ["Waiting"]

logger = logging.getLogger(__name__)

#: Calls of ``flush`` that can wait at a time; beyond it, the oldest run into their timeouts.
MAX_MARKS = 1_000

#: What a queue holds.
Queued: TypeAlias = Line | Held | Summary
Q = TypeVar("Q", bound=Queued, covariant=True)


class Queue(Protocol[Q]):
    """What is used of a deque of any kind of entries."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex, /) -> Q: ...

    def popleft(self) -> Q: ...


class Waiting:
    """Queues that any thread appends to, and the sender thread takes from.

    Each kind of entry has a queue of its own; an order number says which of two entries came first.
    Beyond the bound, the oldest entries of the first non-empty queue are dropped and counted: first
    lines, then own events, then lifecycle events. Of these the ends of runs are dropped last: first
    they are shortened to summaries, which take a tenth of the memory. Only when nothing but
    summaries of ends is left, these are dropped, and counted by job in a tally of some MiB.

    Threads append without a lock, since appending to a deque and adding to a number cannot be
    interrupted by another thread. To remove an entry takes a lock: the sender thread holds it for
    each entry, a task's thread only while it drops some. So the end of a run is not sent before all
    lines that the run has lost are counted.

    Args:
        max_bytes: bytes of memory that its entries may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        #: Counts of what was dropped so far.
        self.losses = Losses()
        # Reentrant: a signal handler of the task may log.
        self._lock = threading.RLock()
        self._dropping = self._overflowed = False
        self._order = itertools.count()
        self._lines: deque[Line] = deque()
        self._pushes: deque[Held] = deque()
        self._reports: deque[Held] = deque()
        #: Summaries of lifecycle events that do not end a run, and of those that do.
        self._beginnings: deque[Summary] = deque()
        self._ends: deque[Summary] = deque()
        self._tally = DroppedEnds()
        self._marks: deque[Held] = deque(maxlen=MAX_MARKS)
        #: Bytes of memory of all entries ever added, and of all ever removed.
        self._put_bytes = self._taken_bytes = 0

    @property
    def _queues(self) -> tuple[Queue[Queued], ...]:
        """All queues, in the order in which they are emptied; the last one, of marks, never is."""
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
        """Add an entry; data that is not JSON is logged: a report loses it, a push is dropped."""
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
        self,
        run: Run,
        kind: EventType,
        text: str | bytes,
        at: float,
        level: str = "",
        step: Label | None = None,
    ) -> None:
        """Add a log line or a chunk of output, of a step of the run if one is given."""
        line = Line(run, kind, text, at, level, next(self._order), step)
        size = line.memory()  # a call within the addition would let another thread in between
        self._put_bytes += size
        self._lines.append(line)
        self._bound()

    def _bound(self) -> None:
        """Drop entries until the rest is within the bound."""
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
        if self._lines:
            self._pop(self._lines).run.dropped += 1
            self.losses.lines += 1
        elif self._pushes:
            entry = self._pop(self._pushes).entry
            assert isinstance(entry, Push)
            self.losses.note_push(entry)
        elif self._reports:
            self._shorten(self._pop(self._reports))
        elif self._beginnings:
            self._pop(self._beginnings)
            self.losses.events += 1
        elif self._ends:
            self._tally.add(self._pop(self._ends))
            self.losses.ends += 1
        else:
            return False
        self._overflowed = True
        return True

    def _pop(self, queue: Queue[Q]) -> Q:
        entry = queue.popleft()
        size = entry.memory()
        self._taken_bytes += size
        return entry

    def _shorten(self, held: Held) -> None:
        """Replace a report by its summary; drop `started`, which other events of its run follow."""
        report = held.whole(Report)
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

    def _next(self) -> Queued | None:
        """Remove and return the oldest entry; a report is left to ``Outbox._report`` to remove."""
        with self._lock:
            first = min((q for q in self._queues if q), key=_order_of_first, default=None)
            if first is None:
                return None
            return first[0] if first is self._reports else self._pop(first)


def _order_of_first(queue: Queue[Queued]) -> int:
    return queue[0].order
