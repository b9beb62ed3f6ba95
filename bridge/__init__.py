"""taskbridge: watch long Celery jobs live.

A service: ``Bridge``. A task: ``job``, ``progress``. A Celery application: ``install``.

Everything is imported on first use, so that ``import bridge`` costs a service next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.bar import progress, progress_range
    from bridge.client import Bridge, Job
    from bridge.current import job
    from bridge.errors import JobCancelled, TaskbridgeError, TokenError
    from bridge.settings import Settings
    from bridge.tokens import Grant
    from bridge.tracking import install

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
    "Bridge": "client",
    "Grant": "tokens",
    "Job": "client",
    "Settings": "settings",
    "job": "current",
    "progress": "bar",
    "progress_range": "bar",
    "install": "tracking",
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
