"""``Batches``: joins log lines and chunks of output into events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from bridge.protocol.event import MAX_EVENT_BYTES, Event, EventType, finite_json
from bridge.protocol.json_types import JSONObject
from bridge.reporting.run import Run
from bridge.sending.entries import Line

__all__ = ["EVENT_OVERHEAD", "LINES", "Batches", "travel_size"]

#: Bytes of JSON of lines that one event holds; the rest is for its names and ids.
MAX_BATCH = MAX_EVENT_BYTES - 8 * 1024
#: Bytes of JSON of a line beside its text, and of an event beside its lines.
LINE_OVERHEAD, EVENT_OVERHEAD = 64, 400
#: Bytes of JSON of the number of a line's step, and of a step beside its name.
STEP_OVERHEAD, NAME_OVERHEAD = 28, 24

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
        lines = self._lines[key]
        if line.step is not None and (not lines or lines[-1][0].step != line.step):
            size += NAME_OVERHEAD + len(finite_json(line.step.name))
        lines.append((line, size))
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
                taken = _taken(lines)
                yield run.event(kind, _data(kind, taken), taken[0].at)
        self._lines.clear()
        self.wanted.clear()


def _taken(lines: deque[tuple[Line, int]]) -> list[Line]:
    """Remove and return the first lines, as many as fit an event."""
    first, size = lines.popleft()
    taken = [first]
    while lines and size + lines[0][1] <= MAX_BATCH:
        line, more = lines.popleft()
        taken.append(line)
        size += more
    return taken


def _data(kind: EventType, lines: list[Line]) -> JSONObject:
    """Return the data of an event of lines: in steps, a chunk has its step's number beside it."""
    data: JSONObject = {LINES[kind]: [line.travels() for line in lines]}
    steps = {line.step.id: line.step.name for line in lines if line.step is not None}
    if not steps:
        return data
    if kind == "output":
        data["chunk_steps"] = [None if line.step is None else line.step.id for line in lines]
    return {**data, "step_names": {str(number): name for number, name in steps.items()}}


def travel_size(line: Line) -> int:
    """Return about how many bytes of JSON a line takes in an event."""
    overhead = LINE_OVERHEAD + (STEP_OVERHEAD if line.step is not None else 0)
    if isinstance(line.text, bytes):
        return len(line.text) * 4 // 3 + overhead
    return len(finite_json(line.text)) + overhead
