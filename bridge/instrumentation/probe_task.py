"""The probe: a task that every installed application has, for ``taskbridge doctor``."""

from __future__ import annotations

from bridge.untyped import CeleryApp

__all__ = ["PROBE", "install"]

PROBE = "taskbridge.probe"
STEPS = 3


def install(app: CeleryApp) -> None:
    """Register the probe with a Celery application."""
    app.task(_probe, name=PROBE)


def _probe() -> int:
    from bridge.reporting.progress import progress  # imported late: a service needs no tqdm

    return sum(1 for _ in progress(range(STEPS), desc="probe"))
