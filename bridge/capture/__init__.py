"""Capture of bars, stored progress, log records and printed output of code without taskbridge.

Each hook looks up the current job by context and does nothing outside a job, so jobs in the same
process do not capture each other's output. The kinds that a run captures are chosen when it begins;
the hooks are set once per process.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.untyped import CeleryTask

__all__ = ["attach", "kinds_for", "prepare"]


def prepare(settings: Settings) -> None:
    """Set the hooks for bars, in a worker before its pool forks. Calling it again does nothing."""
    from bridge.capture import state_updates, tqdm_bars

    state_updates.install()
    tqdm_bars.install()
    if importlib.util.find_spec("rich"):
        from bridge.capture import rich_bars

        rich_bars.install()


def attach(kinds: frozenset[str], settings: Settings) -> None:
    """Set the hooks for lines, at each task: Celery sets up handlers and streams repeatedly."""
    from bridge.capture import log_records, streams

    if "logging" in kinds:
        log_records.attach(settings.capture_level, show_tracebacks=settings.show_tracebacks)
    streams.attach(kinds & {"stdout", "stderr"})


def kinds_for(task: CeleryTask, owner: str | None, settings: Settings) -> frozenset[str]:
    """Return the kinds of bars and lines that are captured of a task.

    Args:
        task: Celery task; its ``taskbridge_capture``, a collection of kinds or a comma-separated
            string, takes precedence.
        owner: owner of the job; without one, the kinds of ``settings`` are not captured.
        settings: settings with the default kinds.
    """
    own = getattr(task, "taskbridge_capture", None)
    if own is not None:
        return frozenset(own.split(",") if isinstance(own, str) else own)
    return frozenset(settings.capture) if owner is not None else frozenset()
