"""The outbox: what tasks handed over, gathered into the events that travel."""

from __future__ import annotations

import base64
import itertools
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bridge.events import MAX_EVENT_BYTES, Event, EventType, finite_json
from bridge.run import Run

__all__ = ["Entry", "Line", "Outbox", "Push", "Report"]

#: Bytes of memory that log and output lines may take before the oldest are dropped, and counted.
MAX_BYTES = 32 * 1024 * 1024
#: Bytes of memory that a line takes beside its text: what a million of them make a process grow by,
#: see benchmarks/outage.py.
LINE_MEMORY = 250
#: Bytes of JSON that are gathered at a time; the rest waits in the outbox, which is bounded.
MAX_GATHERED = 512 * 1024
#: Bytes of JSON that one event gathers; the rest is for its names and ids.
MAX_BATCH = MAX_EVENT_BYTES - 8 * 1024
#: Bytes of an event that a line takes beside its text.
LINE_OVERHEAD = 64

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


#: What is sent; a threading.Event among it is set once all before it was sent.
Entry = Event | Push | threading.Event


@dataclass(slots=True)
class Batch:
    """Lines of one run and type that become one event."""

    first: Line
    lines: list[Any] = field(default_factory=list)
    size: int = 0

    def add(self, line: Any, size: int) -> None:
        self.lines.append(line)
        self.size += size

    def event(self) -> Event:
        kind = self.first.kind
        return self.first.run.event(kind, {LINES[kind]: self.lines}, self.first.at)


def travel_size(line: Line) -> int:
    """Return about how many bytes a line takes in an event, as JSON."""
    if isinstance(line.text, bytes):
        return len(line.text) * 4 // 3 + LINE_OVERHEAD
    return len(finite_json(line.text)) + LINE_OVERHEAD


class Outbox:
    """A bounded queue: any thread puts, the sender gathers.

    Lines, of which the oldest are dropped when they are too many, and all the rest, of which
    nothing is, are queues of their own; a number says which of two entries came first. No lock:
    what threads share are deques and additions, neither of which another thread can interrupt.
    """

    def __init__(self) -> None:
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
        while self._put_bytes - self._taken_bytes > MAX_BYTES and (oldest := self._take()):
            oldest.run.dropped += 1
            self.dropped += 1

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
        batches: dict[tuple[Run, str], Batch] = {}
        while most > 0 and (entry := self._next()):
            if isinstance(entry, Line):
                most -= (size := travel_size(entry))
                yield from _collect(batches, entry, size)
            else:
                yield from _close(batches)
                yield from _whole(entry)
        yield from _close(batches)

    def _next(self) -> Line | Report | Push | threading.Event | None:
        """Take the oldest entry out."""
        # Of the others only the sender takes, so what is first stays first.
        if self._others:
            order, entry = self._others[0]
            if not self._is_line_before(order):
                self._others.popleft()
                return entry
        return self._take()

    def _is_line_before(self, order: int) -> bool:
        try:
            return self._lines[0].order < order
        except IndexError:
            return False


def _collect(batches: dict[tuple[Run, str], Batch], line: Line, size: int) -> Iterator[Event]:
    key = (line.run, line.kind)
    batch = batches.get(key)
    if batch is not None and batch.size + size > MAX_BATCH:
        yield batches.pop(key).event()
        batch = None
    if batch is None:
        batch = batches[key] = Batch(line)
    batch.add(line.travels(), size)


def _close(batches: dict[tuple[Run, str], Batch]) -> Iterator[Event]:
    for batch in batches.values():
        yield batch.event()
    batches.clear()


def _whole(entry: Report | Push | threading.Event) -> Iterator[Entry]:
    if not isinstance(entry, Report):
        yield entry
        return
    # The bar's last state is told before the end of the task is.
    if (last := entry.run.sample()) is not None:
        yield last
    yield entry.run.event(entry.kind, entry.data, entry.at)
