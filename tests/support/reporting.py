"""What a job reports, seen without a worker or a broker."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from bridge import JobCancelled, job
from bridge.bar import Bar


def recorded_lines(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return a list that fills with level and text of what jobs log."""
    lines: list[tuple[str, str]] = []
    monkeypatch.setattr(job, "log", lambda text, level="INFO": lines.append((level, text)))
    return lines


def recorded_bars(
    monkeypatch: pytest.MonkeyPatch, *modules: ModuleType, cancel_at: int | None = None
) -> list[Bar[Any]]:
    """Return a list that fills with the bars of the jobs in ``modules``.

    Args:
        cancel_at: number of the step, over all bars, at which the job is found cancelled.
    """
    bars: list[Bar[Any]] = []
    steps = 0

    def check() -> None:
        nonlocal steps
        steps += 1
        if cancel_at is not None and steps >= cancel_at:
            raise JobCancelled

    def progress(iterable: Any = None, desc: str | None = None, **options: Any) -> Bar[Any]:
        bars.append(Bar(iterable, desc, check=check, **options))
        return bars[-1]

    for module in modules:
        monkeypatch.setattr(module, "progress", progress)
    return bars
