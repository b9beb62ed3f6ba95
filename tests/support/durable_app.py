"""A Celery application of somebody's own, with Celery's defaults, that asked for durable tasks."""

from __future__ import annotations

import os

from celery import Celery

from bridge import Settings, install

settings = Settings.from_environ()
app = Celery(
    "own",
    broker=settings.broker,
    backend=settings.results,
    include=["support.tasks", "support.counted"],
)
if visible := os.environ.get("OWN_VISIBILITY"):
    app.conf.broker_transport_options = {
        "visibility_timeout": float(visible),
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
    }
install(app, settings, durable=True)
