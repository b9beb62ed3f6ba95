"""A Celery application of somebody's own that did not call ``install``."""

from __future__ import annotations

from celery import Celery

from bridge import Settings

settings = Settings.from_environ()
app = Celery("plain", broker=settings.broker, backend=settings.results)


@app.task(name="plain.add")
def add(left, right):
    return left + right
