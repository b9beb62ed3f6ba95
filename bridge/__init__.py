"""taskbridge: watch long Celery jobs live.

A service: ``Bridge``. A task: ``job``, ``progress``. A Celery application: ``install``.

Everything is imported on first use, so that ``import bridge`` costs a service next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.client.bridge import Bridge, Job
    from bridge.errors import JobCancelled, TaskbridgeError, TokenError
    from bridge.instrumentation.worker_signals import install
    from bridge.reporting.current_job import job
    from bridge.reporting.progress import progress, progress_range
    from bridge.settings import Settings
    from bridge.tokens import Grant

__all__ = [
    # A service
    "Bridge",
    "Grant",
    "Job",
    "Settings",
    # A task
    "job",
    "progress",
    "progress_range",
    # A Celery application
    "install",
    # Errors
    "JobCancelled",
    "TaskbridgeError",
    "TokenError",
]

_HOMES = {
    "Bridge": "client.bridge",
    "Grant": "tokens",
    "Job": "client.bridge",
    "Settings": "settings",
    "job": "reporting.current_job",
    "progress": "reporting.progress",
    "progress_range": "reporting.progress",
    "install": "instrumentation.worker_signals",
    "JobCancelled": "errors",
    "TaskbridgeError": "errors",
    "TokenError": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
