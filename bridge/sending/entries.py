"""Entries: what tasks and services hand over to be sent, and how it is held until then."""

from __future__ import annotations

import base64
import json
import sys
import threading
from typing import Any, NamedTuple

from bridge.protocol.event import TERMINAL, Event, EventType, cut, finite_json
from bridge.reporting.task_run import NOTHING, Run

__all__ = ["LATER", "LINE_MEMORY", "Entry", "Held", "Line", "Push", "Report", "Summary"]

#: Bytes of memory that an entry takes beside its text, as benchmarks/held.py measures it: a line,
#: an own event, a lifecycle event, and the run of a lifecycle event that is the first of its run.
LINE_MEMORY, PUSH_MEMORY, REPORT_MEMORY, RUN_MEMORY = 250, 450, 400, 1_700
#: Bytes in which a summary has its order.
ORDER = 8
#: Lifecycle events that come after another one of their run.
LATER = TERMINAL | {"retrying"}
#: ``seq`` of an event that is made of a summary: higher than that of any other event of its run, so
#: that it is news, and leaves a gap, by which clients learn that something is missing.
LAST_SEQ = 2**31 - 1
#: Bytes of JSON of each of its values that a summary keeps.
MAX_VALUE = 256
#: What a lifecycle event says that nothing else of its run repeats, and that a server counts with.
COUNTED = ("attempt", "total", "more")
#: What a summary keeps of an event's data, beside the result where that is short.
KEPT = (*COUNTED, "queue", "expires_at", "retry", "retry_at", "reason", "result_omitted")


class Report(NamedTuple):
    """A lifecycle event of a run."""

    run: Run
    kind: EventType
    data: dict[str, Any]
    #: Seconds since the epoch: when it happened, which may be long before it is sent.
    at: float


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

    def memory(self) -> int:
        """Return the bytes of memory that it takes."""
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


class Summary(bytes):
    """The shortest form of a lifecycle event: its order, and JSON without the run that it is of.

    It keeps what a client needs to see the job's state: errors, reasons and results are shortened
    or left out. It is nothing but bytes, since there may be a hundred thousand of them.
    """

    __slots__ = ()

    @classmethod
    def of(cls, report: Report, order: int) -> Summary:
        """Return the summary of a report; the lines that its run lost count as told by it."""
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
        """Its place among all entries."""
        return int.from_bytes(self[:ORDER])

    def memory(self) -> int:
        """Return the bytes of memory that it takes, with its place in a queue."""
        return sys.getsizeof(self) + 16

    @property
    def place(self) -> tuple[str, bool, str]:
        """Its job, whether it is of the job's own task, and its type."""
        job, task, _, _, kind, *_ = json.loads(self[ORDER:])
        return job, not task, kind

    def event(self) -> Event:
        """Return the event that it is the summary of."""
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
    """An entry other than a line as the outbox holds it."""

    order: int
    #: Bytes of memory that it takes.
    size: int
    #: The entry, without the data that ``text`` has.
    entry: Report | Push | threading.Event
    #: JSON of the entry's data: as text its size is known, and nobody changes it meanwhile.
    text: str = ""

    @classmethod
    def of(cls, entry: Report | Push, order: int) -> Held:
        """Return a report or a push as it is held.

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

    def whole(self) -> Any:
        """Return the report or the push as it was handed over."""
        assert isinstance(self.entry, Report | Push)
        return self.entry._replace(data=json.loads(self.text))


def _is_short(value: Any) -> bool:
    return len(finite_json(value)) <= MAX_VALUE
