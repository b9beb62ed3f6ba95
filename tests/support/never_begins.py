"""An application with Celery's defaults in whose worker one task never begins.

The task is accepted and acknowledged; then its pool process is suspended before it sends an event.
A test kills the whole worker.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import signals

from support.tasks import linger_early


@signals.task_prerun.connect(weak=False)
def suspend(task: Any, **_: Any) -> None:
    """Suspend the process that is about to begin the task."""
    if task.name == linger_early.name:
        os.kill(os.getpid(), signal.SIGSTOP)


# Its handlers, which send events, are connected after the one above.
from support.own_app import app  # noqa: E402, F401
