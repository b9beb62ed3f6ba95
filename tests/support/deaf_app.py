"""An application with Celery's defaults, whose workers have no remote control."""

from __future__ import annotations

from support.own_app import app

app.conf.worker_enable_remote_control = False
