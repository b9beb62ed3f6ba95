"""``Reporter``: the interface of whatever takes what a run reports."""

from __future__ import annotations

from typing import Any, Protocol

from bridge.protocol.event import EventType
from bridge.reporting.task_run import Run

__all__ = ["Reporter"]


class Reporter(Protocol):
    """Takes the events and lines of runs; no method waits for a socket, a lock or a broker.

    A task's process has an emitter, which sends them; a child that a task forks has a relay, which
    hands them to the parent's emitter; a test has a recorder, which keeps them.
    """

    def put(self, run: Run, kind: EventType, data: dict[str, Any] | None = None) -> None:
        """Take an event.

        Args:
            run: the run that it is about.
            kind: the event's type.
            data: of the event, as docs/protocol.md describes it for each type.
        """

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, level: str = "", at: float | None = None
    ) -> None:
        """Take a log line, or a chunk of output.

        Args:
            run: the run that wrote it.
            kind: ``log`` or ``output``.
            text: the line; a chunk of output may be bytes.
            level: of a log line, in lower case.
            at: seconds since the epoch; default now.
        """

    def remove(self, run: Run) -> None:
        """Sample the run's bars no more."""

    def flush(self, timeout: float, *, patient: bool = False) -> bool:
        """Wait until everything that was taken is sent.

        Args:
            timeout: seconds to wait at most.
            patient: whether to wait while the broker is away, too.

        Returns:
            Whether everything was sent.
        """
        ...
