"""Entries: what a task logged and printed, as the archive keeps it, and as text. Pure.

An entry is ``[task, kind, at, payload]``, and of lines or chunks of which some belong to steps
``[task, kind, at, payload, steps]``: the name of the step of each, or null. By kind:

- ``log``: a list of ``[at, level, message]``.
- ``output``: chunks, as an event carries them.
- ``dropped``: how many lines the task's process dropped before it sent them.
- ``missing``: how many events of the task never came; 0 for an unknown number.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any

from bridge.protocol.event import Event

__all__ = [
    "NO_ORDER",
    "Entry",
    "Text",
    "as_text",
    "entries_of",
    "lines_in",
    "missing_before",
    "texts_in",
]

Entry = list[Any]
#: Order of a task of which no event came.
NO_ORDER = (-1, -1, -1)
#: Number of an end from which details were left out; it does not count the events before it.
SHORTENED = 2**31 - 1


def entries_of(event: Event, missing: int | None) -> Iterator[Entry]:
    """Yield the entries of an event.

    Args:
        event: the event.
        missing: events of its task that are missing before it; None for none, 0 for some.
    """
    task, at, data = event.task, round(event.at, 6), event.data
    if missing is not None:
        yield [task, "missing", at, missing]
    if dropped := data.get("dropped"):
        yield [task, "dropped", at, dropped]
    if event.type == "log" and (lines := data.get("lines")):
        numbers = [one.get("step") for one in lines]
        yield [task, "log", at, [_line(at, one) for one in lines], *_steps(data, numbers)]
    elif event.type == "output" and (chunks := data.get("chunks")):
        yield [task, "output", at, chunks, *_steps(data, data.get("chunk_steps", []))]


def _steps(data: dict[str, Any], numbers: list[int | None]) -> Iterator[list[str | None]]:
    """Yield the names of the steps with these numbers, if an event has any."""
    if names := data.get("step_names"):
        yield [names.get(str(number)) for number in numbers]


def _line(at: float, line: dict[str, Any]) -> list[Any]:
    return [line.get("at", at), line.get("level", "INFO"), line["message"]]


def missing_before(event: Event, before: tuple[int, int, int]) -> int | None:
    """Return how many events are missing before one; None for none, 0 for an unknown number.

    Args:
        event: the event, with the number of its execution that the snapshot has.
        before: order of the event of its task before it.
    """
    if event.type in ("queued", "cancelling"):
        return None
    run, seq, _ = before
    counted = event.type != "progress"
    expected = seq + counted if event.run == run else 0
    if event.run != run and not counted:
        expected = -1  # the start of its execution, at least, came before
    if event.seq <= expected:
        return None
    return 0 if event.seq == SHORTENED else event.seq - expected


def lines_in(entries: Iterable[Entry]) -> int:
    """Return the number of lines, and of chunks of output, in entries."""
    return sum(len(payload) for _, kind, _, payload, *_ in entries if kind in ("log", "output"))


def texts_in(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield the texts of entries by which a job is found."""
    for _, kind, _, payload, *_ in entries:
        if kind == "log":
            yield from (message for _, _, message in payload)
        elif kind == "output":
            yield from (chunk for chunk in payload if isinstance(chunk, str))


class Text:
    """Turns entries into a log as text: messages as they were logged, output as it was printed.

    A line of log after output without a line end begins a new line. What is missing is a line of
    its own, which begins with ``[taskbridge: ``.
    """

    def __init__(self) -> None:
        self._open = False

    def of(self, entry: Entry) -> bytes:
        """Return an entry as text."""
        _, kind, _, payload, *_ = entry
        if kind == "output":
            return self._output(b"".join(map(_bytes, payload)))
        if kind == "log":
            text = "".join(f"{message}\n" for _, _, message in payload)
        else:
            text = f"[taskbridge: {_gap(kind, payload)}]\n"
        return self.line(text.encode(errors="replace"))

    def line(self, line: bytes) -> bytes:
        """Return a line that is not the job's, on a line of its own."""
        begin, self._open = b"\n" * self._open, False
        return begin + line

    def _output(self, text: bytes) -> bytes:
        if text:
            self._open = not text.endswith(b"\n")
        return text


def _gap(kind: str, count: int) -> str:
    if kind == "dropped":
        return f"{count} {'line was' if count == 1 else 'lines were'} dropped before being sent"
    return f"{count or 'some'} {'event is' if count == 1 else 'events are'} missing here"


def _bytes(chunk: str | dict[str, str]) -> bytes:
    if isinstance(chunk, str):
        return chunk.encode(errors="replace")
    try:
        return base64.b64decode(chunk["base64"])
    except ValueError:
        return b""


def as_text(entries: Iterable[Entry]) -> bytes:
    """Return entries as text."""
    text = Text()
    return b"".join(map(text.of, entries))
