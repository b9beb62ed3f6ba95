"""The outbox: what tasks handed over, gathered into the events that travel."""

from __future__ import annotations

import base64
import itertools
import logging
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from bridge.allowance import Shares
from bridge.events import MAX_EVENT_BYTES, Event, EventType, finite_json
from bridge.run import Run

__all__ = ["Entry", "Line", "Outbox", "Push", "Report"]

logger = logging.getLogger(__name__)

#: Bytes of memory that log and output lines may take before the oldest are dropped, and counted.
MAX_BYTES = 32 * 1024 * 1024
#: Bytes of memory that a line takes beside its text: what a million of them make a process grow by,
#: see benchmarks/outage.py.
LINE_MEMORY = 250
#: Bytes of JSON that are gathered at a time; the rest waits in the outbox, which is bounded.
MAX_GATHERED = 512 * 1024
#: Bytes of JSON that one event gathers; the rest is for its names and ids.
MAX_BATCH = MAX_EVENT_BYTES - 8 * 1024
#: Bytes of an event that a line takes beside its text, and that it takes beside its lines.
LINE_OVERHEAD, EVENT_OVERHEAD = 64, 400
#: Bytes of lines that come right before an event of their run, and pass however many came before.
LAST_WORDS = 8 * 1024

#: What the lines of each gathered type are called in an event's data.
LINES: dict[str, str] = {"log": "lines", "output": "chunks"}


class Report(NamedTuple):
    """A lifecycle event that a run has to tell."""

    run: Run
    kind: EventType
    data: dict[str, Any]
    #: Seconds since the epoch: when it happened, which may be long before it is sent.
    at: float


class Line(NamedTuple):
    """A log line, or a chunk of output, that a run has to tell."""

    run: Run
    kind: EventType
    text: str | bytes
    #: Seconds since the epoch: when it happened.
    at: float
    #: Level of a log line.
    level: str = ""
    order: int = 0

    def memory(self) -> int:
        """Return about how many bytes of memory it takes."""
        return sys.getsizeof(self.text) + LINE_MEMORY

    def travels(self) -> Any:
        """Return it as it travels in an event's data."""
        if isinstance(self.text, bytes):
            return {"base64": base64.b64encode(self.text).decode()}
        if self.kind == "log":
            return {"at": self.at, "level": self.level, "message": self.text}
        return self.text


class Push(NamedTuple):
    """An application's own event."""

    event: str
    data: Any
    namespace: str
    room: str | None
    #: To whose servers it goes; None for all.
    shard: int | None = None
    #: Id of the connection that does not get it.
    skip: str | None = None
    #: By which servers recognise a copy of it; empty for none.
    id: str = ""


#: What is sent; a threading.Event among it is set once all before it was sent.
Entry = Event | Push | threading.Event


class Batches:
    """Lines that become events, by run and type, in the order of each one's first."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Run, EventType], deque[tuple[Line, int]]] = {}
        #: Bytes that each run wants to send.
        self.wanted: dict[Run, int] = {}

    def add(self, line: Line, size: int) -> None:
        """Take in a line that takes so many bytes of an event."""
        key = (line.run, line.kind)
        if key not in self._lines:
            self._lines[key] = deque()
            self.wanted[line.run] = self.wanted.get(line.run, 0) + EVENT_OVERHEAD
        self._lines[key].append((line, size))
        self.wanted[line.run] += size

    def trim(self, run: Run, most: float) -> int:
        """Drop the oldest lines of a run until the others take so many bytes; return how many."""
        kinds = [lines for (of, _), lines in self._lines.items() if of is run]
        dropped = 0
        while self.wanted[run] > most and (kinds := [lines for lines in kinds if lines]):
            oldest = min(kinds, key=lambda lines: lines[0][0].order)
            self.wanted[run] -= oldest.popleft()[1] + (0 if oldest else EVENT_OVERHEAD)
            dropped += 1
        return dropped

    def events(self) -> Iterator[Event]:
        """Yield the events, none larger than an event may be, and begin anew."""
        for (run, kind), lines in self._lines.items():
            while lines:
                first, size = lines[0][0], 0
                taken: list[Any] = []
                while lines and (not taken or size + lines[0][1] <= MAX_BATCH):
                    line, more = lines.popleft()
                    taken.append(line.travels())
                    size += more
                yield run.event(kind, {LINES[kind]: taken}, first.at)
        self._lines.clear()
        self.wanted.clear()


def _size_of(data: Any) -> int:
    try:
        return len(finite_json(data))
    except (TypeError, ValueError, RecursionError):  # it is refused where it is sent
        return 0


def travel_size(line: Line) -> int:
    """Return about how many bytes a line takes in an event, as JSON."""
    if isinstance(line.text, bytes):
        return len(line.text) * 4 // 3 + LINE_OVERHEAD
    return len(finite_json(line.text)) + LINE_OVERHEAD


class Outbox:
    """A bounded queue: any thread puts, the sender gathers.

    Lines, of which the oldest are dropped when they are too many, and all the rest, of which
    nothing is, are queues of their own; a number says which of two entries came first. What threads
    share are deques and additions, neither of which another thread can interrupt. A lock is held
    only while a line is dropped: the end of a run is not told before all that it lost is counted.

    Args:
        shares: how much its runs may send; default all.
    """

    def __init__(self, shares: Shares[Run] | None = None) -> None:
        self._shares = shares
        self._pushed_too_much = False
        # Reentrant: a signal handler of the task may log.
        self._dropping = threading.RLock()
        self._order = itertools.count()
        self._lines: deque[Line] = deque()
        self._others: deque[tuple[int, Report | Push | threading.Event]] = deque()
        #: Bytes of memory of all lines that ever came in, and of all that went out.
        self._put_bytes = self._taken_bytes = 0
        #: Lines dropped so far; about, since threads may count at the same moment.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._lines) + len(self._others)

    def put(self, entry: Report | Push | threading.Event) -> None:
        """Take an entry in."""
        self._others.append((next(self._order), entry))

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, at: float, level: str = ""
    ) -> None:
        """Take a log line or a chunk in; if they are too many, drop the oldest and count it."""
        line = Line(run, kind, text, at, level, next(self._order))
        size = line.memory()  # a call within the addition would let another thread in between
        self._put_bytes += size
        self._lines.append(line)
        while self._put_bytes - self._taken_bytes > MAX_BYTES and self._drop_oldest():
            pass

    def _drop_oldest(self) -> bool:
        with self._dropping:
            if (oldest := self._take()) is not None:
                oldest.run.dropped += 1
                self.dropped += 1
        return oldest is not None

    def _take(self) -> Line | None:
        try:
            line = self._lines.popleft()
        except IndexError:  # the sender was faster
            return None
        size = line.memory()
        self._taken_bytes += size
        return line

    def gather(self, most: int = MAX_GATHERED) -> Iterator[Entry]:
        """Take the oldest entries out; lines of one run and type, between two of its other
        events, become one.

        Args:
            most: bytes of lines after which the rest is left for the next time.
        """
        batches = Batches()
        while most > 0 and (entry := self._next()):
            if isinstance(entry, Line):
                most -= (size := travel_size(entry))
                batches.add(entry, size)
            else:
                yield from self._close(batches, entry)
                if not isinstance(entry, Push) or self._may_push(entry):
                    yield from _whole(entry)
        yield from self._close(batches)

    def _close(self, batches: Batches, before: Any = None) -> Iterator[Event]:
        """Yield events of what was gathered, without the oldest lines of runs that log too much.

        Args:
            batches: what was gathered.
            before: what comes next; the last lines before an event of their own run pass.
        """
        if self._shares is not None:
            ending = before.run if isinstance(before, Report) else None
            for run, granted in self._shares.grant(batches.wanted).items():
                most = max(granted, LAST_WORDS) if run is ending else granted
                dropped = batches.trim(run, most)
                run.limited += dropped
                self.dropped += dropped
                self._shares.spend(run, batches.wanted[run])
        yield from batches.events()

    def _may_push(self, push: Push) -> bool:
        if self._shares is None:
            return True
        if self._shares.pushes.left <= 0:
            if not self._pushed_too_much:
                logger.warning(
                    "taskbridge: own events are dropped: they are more than half of "
                    "TASKBRIDGE_LINE_BYTES_PER_SECOND allows"
                )
            self._pushed_too_much = True
            self.dropped += 1
            return False
        self._shares.pushes.spend(EVENT_OVERHEAD + _size_of(push.data))
        return True

    def _next(self) -> Line | Report | Push | threading.Event | None:
        """Take the oldest entry out."""
        # Of the others only the sender takes, so what is first stays first.
        if self._others:
            order, entry = self._others[0]
            if not self._is_line_before(order):
                self._others.popleft()
                with self._dropping:  # a line before it may be taken out already, and not counted
                    return entry
        return self._take()

    def _is_line_before(self, order: int) -> bool:
        try:
            return self._lines[0].order < order
        except IndexError:
            return False


def _whole(entry: Report | Push | threading.Event) -> Iterator[Entry]:
    if not isinstance(entry, Report):
        yield entry
        return
    # The bar's last state is told before the end of the task is.
    if (last := entry.run.sample()) is not None:
        yield last
    yield entry.run.event(entry.kind, entry.data, entry.at)
