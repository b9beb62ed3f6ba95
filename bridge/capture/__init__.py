"""Capture: what code that knows nothing of taskbridge shows inside a job reaches its watchers.

Each kind looks up the current job by context and does nothing outside one, so two jobs in one
process never see each other's. What a run captures is decided when it begins; the hooks
themselves are set once a process.
"""

from __future__ import annotations

import importlib.util
from typing import Any

from bridge.settings import Settings

__all__ = ["attach", "kinds_for", "prepare"]


def prepare(settings: Settings) -> None:
    """Set the hooks for bars, in a worker before its pool forks. Calling it again does nothing."""
    from bridge.capture import tqdm_bars

    tqdm_bars.install()
    if importlib.util.find_spec("rich"):
        from bridge.capture import rich_bars

        rich_bars.install()


def attach(kinds: frozenset[str], settings: Settings) -> None:
    """Set the hooks for lines: Celery sets handlers and streams up late, and more than once."""
    from bridge.capture import log_records, streams

    if "logging" in kinds:
        log_records.attach(settings.capture_level, show_tracebacks=settings.show_tracebacks)
    streams.attach(kinds & {"stdout", "stderr"})


def kinds_for(task: Any, owner: str | None, settings: Settings) -> frozenset[str]:
    """Return what is captured of a task.

    Args:
        task: its own ``taskbridge_capture``, a collection of kinds, has the last word.
        owner: of a task that is nobody's, nothing is captured unless it says so.
    """
    own = getattr(task, "taskbridge_capture", None)
    if own is not None:
        return frozenset(own.split(",") if isinstance(own, str) else own)
    return frozenset(settings.capture) if owner is not None else frozenset()
