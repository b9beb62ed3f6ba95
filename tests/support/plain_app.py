"""A Celery application of somebody's own that did not call ``install``."""

from __future__ import annotations

import time
from pathlib import Path

from celery import Celery

from bridge import Settings

settings = Settings.from_environ()
app = Celery("plain", broker=settings.broker, backend=settings.results)


app.conf.task_track_started = True


@app.task(name="plain.hold")
def hold(file):
    """Go on until there is such a file."""
    while not Path(file).exists():
        time.sleep(0.05)
    return "done"


@app.task(name="plain.add")
def add(left, right):
    return left + right
