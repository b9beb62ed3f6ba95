"""Entries of the send queue: lifecycle events, lines and own events, and how they are held."""

from __future__ import annotations

import base64
import json
import sys
import threading
from typing import NamedTuple, TypeAlias, TypedDict, TypeVar

from bridge.protocol.event import TERMINAL, Event, EventType, cut, finite_json
from bridge.protocol.json_types import JSONObject, LogLine
from bridge.reporting.run import NOTHING, Run
from bridge.reporting.steps import Label

__all__ = ["LATER", "LINE_MEMORY", "Entry", "Held", "Line", "LineData", "Push", "Report", "Summary"]

#: Bytes of memory of an entry beside its text, as benchmarks/held.py measures them: of a line, an
#: own event, a lifecycle event, and of the run, which counts with the run's first lifecycle event.
LINE_MEMORY, PUSH_MEMORY, REPORT_MEMORY, RUN_MEMORY = 250, 450, 400, 1_700
#: Bytes of memory of the label of a line's step, which lines of a step share.
LABEL_MEMORY = 150
#: Bytes of a summary's order number.
ORDER = 8
#: Types of lifecycle events that end an execution, and so follow another event of their run.
LATER = TERMINAL | {"retrying"}
#: ``seq`` of an event made from a summary: higher than that of any other event of its run, so that
#: the event is the newest, and leaves a gap, by which clients learn that something is missing.
LAST_SEQ = 2**31 - 1
#: Largest value that a summary keeps, in bytes of JSON.
MAX_VALUE = 256
#: Fields of a lifecycle event that a server counts with, kept even if the event is dropped.
COUNTED = ("attempt", "total", "more")
#: Fields of an event's data that a summary keeps if they are short, beside result and error.
KEPT = (*COUNTED, "queue", "expires_at", "retry", "retry_at", "reason", "result_omitted")


class Report(NamedTuple):
    """A lifecycle event of a run."""

    run: Run
    kind: EventType
    data: JSONObject
    #: Seconds since the epoch: when it happened, which may be long before it is sent.
    at: float


class BinaryChunk(TypedDict):
    """A chunk of output that is bytes."""

    base64: str


#: A log line, or a chunk of output, in an event's data.
LineData: TypeAlias = LogLine | BinaryChunk | str


class Line(NamedTuple):
    """A log line, or a chunk of output, of a run."""

    run: Run
    kind: EventType
    text: str | bytes
    #: Seconds since the epoch: when it happened.
    at: float
    #: Level of a log line.
    level: str = ""
    order: int = 0
    #: The step that it belongs to; None for none.
    step: Label | None = None

    def memory(self) -> int:
        """Return the bytes of memory that it takes."""
        return sys.getsizeof(self.text) + LINE_MEMORY + (LABEL_MEMORY if self.step else 0)

    def travels(self) -> LineData:
        """Return the line as it is sent in an event's data."""
        if isinstance(self.text, bytes):
            return {"base64": base64.b64encode(self.text).decode()}
        if self.kind == "log":
            line: LogLine = {"at": self.at, "level": self.level, "message": self.text}
            return line if self.step is None else {**line, "step": self.step.id}
        return self.text


class Push(NamedTuple):
    """An application's own event."""

    event: str
    data: object
    namespace: str
    room: str | None
    #: Shard of the servers that it is sent to; None for all shards.
    shard: int | None = None
    #: Id of the client connection that does not get it.
    skip: str | None = None
    #: Id by which servers recognise a duplicate; empty for none.
    id: str = ""


E = TypeVar("E", Report, Push)

#: An entry to send; a threading.Event is a mark of ``flush``, set once all before it is sent.
Entry = Event | Push | threading.Event


class Summary(bytes):
    """The shortest form of a lifecycle event: its order number, and JSON in place of its run.

    It keeps what a client needs to see the job's state: errors, reasons and results are shortened
    or left out. It is only bytes, to save memory: there may be a hundred thousand summaries.
    """

    __slots__ = ()

    @classmethod
    def of(cls, report: Report, order: int) -> Summary:
        """Return the summary of a report, with the number of lines that its run has dropped."""
        run = report.run
        data = {name: report.data[name] for name in KEPT if name in report.data}
        data = {name: value for name, value in data.items() if _is_short(value)}
        if "result" in report.data:
            result = report.data["result"]
            data |= {"result": result} if _is_short(result) else {"result_omitted": True}
        if isinstance(error := report.data.get("error"), dict):
            data["error"] = {
                name: cut(str(error.get(name, "")), MAX_VALUE) for name in ("class", "message")
            }
        task = "" if run.task == run.job else run.task
        told = [run.job, task, run.name, run.owner, report.kind, run.begun, report.at]
        text = finite_json([*told, {**run.execution, **run.complete(data)}])
        return cls(order.to_bytes(ORDER) + text.encode())

    @property
    def order(self) -> int:
        """Its order number among all entries."""
        return int.from_bytes(self[:ORDER])

    def memory(self) -> int:
        """Return the bytes of memory that it takes, with its slot in a queue."""
        return sys.getsizeof(self) + 16

    @property
    def place(self) -> tuple[str, bool, str]:
        """Id of the job, whether the task is the job's own, and type of the event."""
        job, task, _, _, kind, *_ = json.loads(self[ORDER:])
        return job, not task, kind

    def event(self) -> Event:
        """Return an event with what the summary kept."""
        job, task, name, owner, kind, begun, at, data = json.loads(self[ORDER:])
        return Event(
            job=job,
            task=task or job,
            type=kind,
            at=at,
            name=name,
            owner=owner,
            run=begun,
            seq=LAST_SEQ if begun else 0,
            data=data,
        )


class Held(NamedTuple):
    """A report, a push or a mark of ``flush``, as the outbox holds it."""

    order: int
    #: Bytes of memory that it takes.
    size: int
    #: The entry, without its data.
    entry: Report | Push | threading.Event
    #: JSON of the entry's data: the size of text is known, and the task cannot change it.
    text: str = ""

    @classmethod
    def of(cls, entry: Report | Push, order: int) -> Held:
        """Return a report or a push with its data as JSON text.

        Raises:
            ValueError, TypeError, RecursionError: its data is not JSON.
        """
        text = finite_json(entry.data)
        if isinstance(entry, Push):
            fixed = PUSH_MEMORY
        else:
            fixed = REPORT_MEMORY + RUN_MEMORY * (entry.kind not in LATER)
        return cls(order, fixed + len(text), entry._replace(data=NOTHING), text)

    def memory(self) -> int:
        """Return the bytes of memory that it takes."""
        return self.size

    def whole(self, kind: type[E]) -> E:
        """Return the entry with its data.

        Args:
            kind: its type, ``Report`` or ``Push``.
        """
        assert isinstance(self.entry, kind)
        return self.entry._replace(data=json.loads(self.text))


def _is_short(value: object) -> bool:
    return len(finite_json(value)) <= MAX_VALUE
