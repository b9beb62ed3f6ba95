"""An application as Celery's tutorials have it, which alone knows its broker."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery_progress.backend import ProgressRecorder

import bridge

app = Celery("tutorial")
if os.environ.get("TUTORIAL_INSTALLED", "1") == "1":
    bridge.install(app)
# After that, as config_from_object may be.
app.conf.broker_url = os.environ.get("TUTORIAL_BROKER")
app.conf.result_backend = os.environ["TUTORIAL_RESULTS"]


def wait_for(file: str) -> None:
    """Return when there is such a file."""
    end = time.monotonic() + 60
    while not Path(file).exists() and time.monotonic() < end:
        time.sleep(0.05)


@app.task(bind=True, name="tutorial.upload")
def upload(self: Any, file: str) -> str:
    """Store progress as Celery's documentation does, and wait for a file."""
    for current in (0, 37):
        meta = {"current": current, "total": 100, "status": "Uploading", "server": "eu-1"}
        self.update_state(state="PROGRESS", meta=meta)
    wait_for(file)
    return "done"


@app.task(bind=True, name="tutorial.record")
def record(self: Any, file: str) -> str:
    """Store progress with celery-progress's recorder, and wait for a file."""
    ProgressRecorder(self).set_progress(37, 100, description="rows")
    wait_for(file)
    return "done"
