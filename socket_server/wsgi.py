"""``gunicorn socket_server.wsgi:app``: the server for gunicorn, with threads or gevent."""

from __future__ import annotations

import os
import sys

from bridge import tracing
from bridge.errors import TaskbridgeError
from bridge.settings import Settings
from socket_server.observability import logs

__all__ = ["app"]

try:
    from socket_server import create_app

    _settings = Settings.from_environ()
    logs.configure(_settings.log_format)
    tracing.start(_settings, "taskbridge-server")
    app = create_app(_settings)
except TaskbridgeError as error:
    # On an exception, gunicorn would print a traceback and start a worker again.
    sys.stderr.write(f"taskbridge: {error}\n")
    os._exit(4)  # gunicorn's status for an application that cannot be loaded
