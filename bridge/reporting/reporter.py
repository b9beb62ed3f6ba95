"""``Reporter``: the interface of objects that take the events and lines of runs."""

from __future__ import annotations

from typing import Protocol

from bridge.protocol.event import EventType
from bridge.protocol.json_types import JSONObject
from bridge.reporting.run import Run

__all__ = ["Reporter"]


class Reporter(Protocol):
    """Takes the events and lines of runs; no method but :meth:`flush` waits for the broker.

    A task's process has an emitter, which publishes them; a child that a task forks has a relay,
    which passes lines on to the parent's emitter; a test has a recorder, which keeps them.
    """

    def put(self, run: Run, kind: EventType, data: JSONObject | None = None) -> None:
        """Take an event.

        Args:
            run: the run that the event is about.
            kind: the event's type.
            data: the event's data, as docs/protocol.md describes it for each type; default empty.
        """

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, level: str = "", at: float | None = None
    ) -> None:
        """Take a log line, or a chunk of output.

        Args:
            run: the run that wrote it.
            kind: ``log`` or ``output``.
            text: the line; a chunk of output may be bytes.
            level: level of a log line, as :mod:`logging` names it (``INFO``).
            at: seconds since the epoch; default now.
        """

    def remove(self, run: Run) -> None:
        """Stop sampling the run's bars."""

    def flush(self, timeout: float, *, patient: bool = False) -> bool:
        """Wait until all events and lines so far are sent.

        Args:
            timeout: seconds to wait at most.
            patient: whether to wait even while the broker is unreachable; default False.

        Returns:
            Whether everything was sent.
        """
        ...
