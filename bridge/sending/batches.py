"""``Batches``: joins log lines and chunks of output into events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from bridge.protocol.event import MAX_EVENT_BYTES, Event, EventType, finite_json
from bridge.reporting.run import Run
from bridge.sending.entries import Line, LineData

__all__ = ["EVENT_OVERHEAD", "LINES", "Batches", "travel_size"]

#: Bytes of JSON of lines that one event holds; the rest is for its names and ids.
MAX_BATCH = MAX_EVENT_BYTES - 8 * 1024
#: Bytes of JSON of a line beside its text, and of an event beside its lines.
LINE_OVERHEAD, EVENT_OVERHEAD = 64, 400

#: Field of an event's data that holds the lines, by type of the event.
LINES: dict[str, str] = {"log": "lines", "output": "chunks"}


class Batches:
    """Lines grouped by run and type of event; groups are in the order of their first lines."""

    def __init__(self) -> None:
        self._lines: dict[tuple[Run, EventType], deque[tuple[Line, int]]] = {}
        #: Bytes that each run wants to send.
        self.wanted: dict[Run, int] = {}

    def add(self, line: Line, size: int) -> None:
        """Add a line that takes ``size`` bytes of an event, see :func:`travel_size`."""
        key = (line.run, line.kind)
        if key not in self._lines:
            self._lines[key] = deque()
            self.wanted[line.run] = self.wanted.get(line.run, 0) + EVENT_OVERHEAD
        self._lines[key].append((line, size))
        self.wanted[line.run] += size

    def trim(self, run: Run, most: float) -> int:
        """Drop a run's oldest lines until ``most`` bytes are left; return the number dropped."""
        kinds = [lines for (of, _), lines in self._lines.items() if of is run]
        dropped = 0
        while self.wanted[run] > most and (kinds := [lines for lines in kinds if lines]):
            oldest = min(kinds, key=lambda lines: lines[0][0].order)
            self.wanted[run] -= oldest.popleft()[1] + (0 if oldest else EVENT_OVERHEAD)
            dropped += 1
        return dropped

    def events(self) -> Iterator[Event]:
        """Yield the events, each within the size limit of an event, and clear the batches."""
        for (run, kind), lines in self._lines.items():
            while lines:
                first, size = lines[0][0], 0
                taken: list[LineData] = []
                while lines and (not taken or size + lines[0][1] <= MAX_BATCH):
                    line, more = lines.popleft()
                    taken.append(line.travels())
                    size += more
                yield run.event(kind, {LINES[kind]: taken}, first.at)
        self._lines.clear()
        self.wanted.clear()


def travel_size(line: Line) -> int:
    """Return about how many bytes of JSON a line takes in an event."""
    if isinstance(line.text, bytes):
        return len(line.text) * 4 // 3 + LINE_OVERHEAD
    return len(finite_json(line.text)) + LINE_OVERHEAD
