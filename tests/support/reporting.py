"""What a job reports, seen without a worker or a broker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from bridge import JobCancelled, job
from bridge.protocol.event import Event, EventType, finite_json
from bridge.reporting import current_job
from bridge.reporting.progress import Bar
from bridge.reporting.run import Run


class Lines:
    """In an emitter's place: keeps the lines that it is handed."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str | bytes, str]] = []
        self.at: list[float | None] = []

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, level: str = "", at: float | None = None
    ) -> None:
        self.lines.append((run.job, kind, text, level))
        self.at.append(at)

    @property
    def logged(self) -> list[tuple[str, str | bytes]]:
        """Level and text of each log line."""
        return [(level, text) for _, kind, text, level in self.lines if kind == "log"]

    @property
    def output(self) -> list[str | bytes]:
        """Chunks of output."""
        return [text for _, kind, text, _ in self.lines if kind == "output"]


@contextlib.contextmanager
def inside_job(name: str = "j", **options: Any) -> Iterator[tuple[Run, Lines]]:
    """Make a job that has just started the current one.

    Args:
        name: its id.
        options: of its run.
    """
    run, emitter = Run(job=name, task=f"task of {name}", name="n", **options), Lines()
    run.event("started", {})
    current_job.enter(run, emitter)  # type: ignore[arg-type]
    try:
        yield run, emitter
    finally:
        current_job.leave(run.task)


def bars_of(run: Run) -> list[dict[str, Any]]:
    """Return the bars of a run as they travel now, checked as every server checks them."""
    event = run.sample(force=True)
    assert event is not None
    assert Event.decode(json.loads(finite_json(event.encode()))) == event
    bars: list[dict[str, Any]] = event.data["bars"]
    return bars


def recorded_lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return a list that fills with level and text of what jobs log."""
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(job, "log", lambda text, level="INFO": lines.append((level, text)))
    return lines


def recorded_bars(
    monkeypatch: pytest.MonkeyPatch, *modules: ModuleType, cancel_at: int | None = None
) -> list[Bar]:
    """Return a list that fills with the bars of the jobs in ``modules``.

    Args:
        cancel_at: number of the step, over all bars, at which the job is found cancelled.
    """
    bars: list[Bar] = []
    steps = 0

    class Recorded(Bar):
        """A bar that can be asked whether it is closed, and counts its steps."""

        @property
        def closed(self) -> bool:
            return bool(self.disable)

        @property
        def n(self) -> Any:  # type: ignore[override]
            return self.__dict__["_count"]

        @n.setter
        def n(self, value: Any) -> None:
            nonlocal steps
            steps += "_count" in self.__dict__  # where it begins is no step
            if cancel_at is not None and steps >= cancel_at:
                raise JobCancelled
            self.__dict__["_count"] = value

    def progress(*args: Any, **options: Any) -> Bar:
        bars.append(Recorded(*args, **options))
        return bars[-1]

    for module in modules:
        monkeypatch.setattr(module, "progress", progress)
    return bars
