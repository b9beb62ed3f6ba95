"""A Celery application of somebody's own, with Celery's defaults, that called ``install``."""

from __future__ import annotations

from celery import Celery

from bridge import Settings, install

settings = Settings.from_environ()
app = Celery(
    "own",
    broker=settings.broker,
    backend=settings.results,
    include=["support.tasks", "support.counted"],
)
install(app, settings)
