"""Batches: lines gathered into events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from bridge.protocol.event import MAX_EVENT_BYTES, Event, EventType, finite_json
from bridge.reporting.task_run import Run
from bridge.sending.entries import Line

__all__ = ["EVENT_OVERHEAD", "LINES", "Batches", "travel_size"]

#: Bytes of JSON that one event gathers; the rest is for its names and ids.
MAX_BATCH = MAX_EVENT_BYTES - 8 * 1024
#: Bytes of an event that a line takes beside its text, and that it takes beside its lines.
LINE_OVERHEAD, EVENT_OVERHEAD = 64, 400

#: What the lines of each gathered type are called in an event's data.
LINES: dict[str, str] = {"log": "lines", "output": "chunks"}


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


def travel_size(line: Line) -> int:
    """Return about how many bytes a line takes in an event, as JSON."""
    if isinstance(line.text, bytes):
        return len(line.text) * 4 // 3 + LINE_OVERHEAD
    return len(finite_json(line.text)) + LINE_OVERHEAD
