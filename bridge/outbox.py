"""The outbox: what tasks handed over, bounded in bytes, gathered into the events that travel."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from bridge.allowance import Shares
from bridge.batches import EVENT_OVERHEAD, LINES, Batches, travel_size
from bridge.entries import COUNTED, LATER, LINE_MEMORY, Entry, Held, Line, Push, Report, Summary
from bridge.events import Event, EventType
from bridge.losses import Losses
from bridge.run import Run
from bridge.tally import Tally

__all__ = ["LINES", "LINE_MEMORY", "Entry", "Line", "Outbox", "Push", "Report"]

logger = logging.getLogger(__name__)

#: Bytes of memory that an outbox takes unless a setting says otherwise.
MAX_BYTES = 32 * 1024 * 1024
#: Bytes of JSON that are gathered at a time; the rest waits in the outbox, which is bounded.
MAX_GATHERED = 512 * 1024
#: Bytes of lines that come right before an event of their run, and pass however many came before.
LAST_WORDS = 8 * 1024
#: Calls of ``flush`` that wait at a time; of more, the oldest run into their timeouts.
MAX_MARKS = 1_000


class Outbox:
    """A queue bounded in bytes: any thread puts, the sender gathers.

    Each kind of entry has a queue of its own; a number says which of two entries came first. Beyond
    the bound the oldest entries of the first queue that is not empty are dropped and counted: lines,
    then own events, then lifecycle events. Of lifecycle events the ends of runs go last: first they
    are shortened to summaries, which take a tenth. Only when nothing but summaries is left they are
    dropped, and counted by job in a tally, which takes some MiB at most.

    Threads append without a lock, since appending to a deque and adding to a number cannot be
    interrupted by another thread. Whoever takes something out holds a lock: the sender for each
    entry, a task's thread only while something is dropped. So the end of a run is not told before
    all that it lost is counted.

    Args:
        shares: how much its runs may send; default all.
        max_bytes: bytes of memory that its entries may take.
    """

    def __init__(self, shares: Shares[Run] | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._shares = shares
        self.max_bytes = max_bytes
        #: What was dropped so far.
        self.losses = Losses()
        self._pushed_too_much = False
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

    def gather(self, most: int = MAX_GATHERED) -> Iterator[Entry]:
        """Take the oldest entries out; lines of one run and type, between two of its other
        events, become one.

        Args:
            most: bytes after which the rest is left for the next time.
        """
        if self._overflowed:
            self._overflowed = False
            yield from self.losses.notices()
            with self._lock:
                events = list(self._tally.events())
            yield from events
        batches = Batches()
        while most > 0 and (entry := self._next()):
            if isinstance(entry, Line):
                most -= (size := travel_size(entry))
                batches.add(entry, size)
            elif isinstance(entry, Summary):
                most -= EVENT_OVERHEAD + len(entry)
                yield from self._close(batches)
                yield entry.event()
            else:
                most -= EVENT_OVERHEAD + len(entry.text)
                yield from self._close(batches, entry.entry)
                yield from self._whole(entry)
        yield from self._close(batches)

    def _next(self) -> Line | Held | Summary | None:
        """Take the oldest entry out; a report stays until :meth:`_report` takes it."""
        with self._lock:
            first = min((q for q in self._queues if q), key=_order_of_first, default=None)
            if first is None:
                return None
            entry: Line | Held | Summary = first[0] if first is self._reports else self._pop(first)
            return entry

    def _close(self, batches: Batches, before: Any = None) -> Iterator[Event]:
        """Yield events of what was gathered, without the oldest lines of runs that log too much.

        Args:
            batches: what was gathered.
            before: what comes next; the last lines before an event of their own run pass.
        """
        with self._lock:
            if self._shares is not None:
                ending = before.run if isinstance(before, Report) else None
                for run, granted in self._shares.grant(batches.wanted).items():
                    most = max(granted, LAST_WORDS) if run is ending else granted
                    dropped = batches.trim(run, most)
                    run.limited += dropped
                    self.losses.lines += dropped
                    self._shares.spend(run, batches.wanted[run])
            events = list(batches.events())
        yield from events

    def _whole(self, held: Held) -> Iterator[Entry]:
        entry = held.entry
        if isinstance(entry, Report):
            yield from self._report(held, entry.run)
        elif isinstance(entry, threading.Event):
            yield entry
        elif self._may_push(held):
            yield from self.losses.notice(entry)
            yield held.whole()

    def _report(self, held: Held, run: Run) -> Iterator[Event]:
        # The bar's last state is told before the end of the task is. Without the lock: what a bar
        # shows may be computed by the application.
        if (last := run.sample()) is not None:
            yield last
        with self._lock:
            if not self._reports or self._reports[0] is not held:
                return  # a task's thread has just shortened it
            report = self._pop(self._reports).whole()
            event = run.event(report.kind, report.data, report.at)
        yield event

    def _may_push(self, held: Held) -> bool:
        if self._shares is None:
            return True
        if self._shares.pushes.left <= 0:
            if not self._pushed_too_much:
                logger.warning(
                    "taskbridge: own events are dropped: they are more than half of "
                    "TASKBRIDGE_LINE_BYTES_PER_SECOND allows"
                )
            self._pushed_too_much = True
            with self._lock:
                assert isinstance(held.entry, Push)
                self.losses.note_push(held.entry)
            return False
        self._shares.pushes.spend(EVENT_OVERHEAD + len(held.text))
        return True


def _order_of_first(queue: deque[Any]) -> int:
    order: int = queue[0].order
    return order
