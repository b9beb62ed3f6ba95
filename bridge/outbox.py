"""The outbox: what tasks handed over, gathered into the events that travel."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bridge.events import MAX_EVENT_BYTES, Event, EventType, finite_json
from bridge.run import Run

__all__ = ["Entry", "Outbox", "Push", "Report"]

#: Entries that are held before log and output lines are dropped, and counted.
MAX_ENTRIES = 50_000
#: Bytes of JSON that one event gathers; the rest is for its names and ids.
MAX_BATCH = MAX_EVENT_BYTES - 8 * 1024
#: Bytes of an event that a line takes beside its text.
LINE_OVERHEAD = 64

#: What the lines of each gathered type are called in an event's data.
LINES: dict[str, str] = {"log": "lines", "output": "chunks"}


class Report(NamedTuple):
    """Something that a run has to tell, not yet an event."""

    run: Run
    kind: EventType
    data: Any
    #: Seconds since the epoch: when it happened, which may be long before it is sent.
    at: float


class Push(NamedTuple):
    """An application's own event."""

    event: str
    data: Any
    namespace: str
    room: str | None


#: What is sent; a threading.Event among it is set once all before it was sent.
Entry = Event | Push | threading.Event


@dataclass(slots=True)
class Batch:
    """Lines of one run and type that become one event."""

    first: Report
    lines: list[Any] = field(default_factory=list)
    size: int = 0

    def add(self, line: Any) -> None:
        self.lines.append(line)
        self.size += line_size(line)

    def event(self) -> Event:
        run, kind, _, at = self.first
        return run.event(kind, {LINES[kind]: self.lines}, at)


def line_size(line: Any) -> int:
    """Return about how many bytes a log line or a chunk takes in an event, as JSON."""
    text = line if isinstance(line, str) else line["message"]
    return len(finite_json(text)) + LINE_OVERHEAD


class Outbox:
    """A bounded queue: any thread puts, the sender gathers."""

    def __init__(self) -> None:
        self._entries: deque[Report | Push | threading.Event] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Report | Push | threading.Event) -> None:
        """Take an entry in."""
        self._entries.append(entry)

    def put_line(self, report: Report) -> None:
        """Take a log line or a chunk in, or count it as dropped if there is no room."""
        if len(self._entries) >= MAX_ENTRIES:
            report.run.dropped += 1
        else:
            self._entries.append(report)

    def gather(self) -> Iterator[Entry]:
        """Empty it; lines of one run and type, between two of its other events, become one."""
        batches: dict[tuple[Run, str], Batch] = {}
        while self._entries:
            entry = self._entries.popleft()
            if isinstance(entry, Report) and entry.kind in LINES:
                yield from _collect(batches, entry)
            else:
                yield from _close(batches)
                yield from _whole(entry)
        yield from _close(batches)


def _collect(batches: dict[tuple[Run, str], Batch], report: Report) -> Iterator[Event]:
    key = (report.run, report.kind)
    batch = batches.get(key)
    if batch is not None and batch.size + line_size(report.data) > MAX_BATCH:
        yield batches.pop(key).event()
        batch = None
    if batch is None:
        batch = batches[key] = Batch(report)
    batch.add(report.data)


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
