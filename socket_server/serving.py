"""The socket server as a WSGI application, for the web server that an application already has.

It is for gunicorn and uWSGI with threads or gevent, and for one process that serves an application
and its socket server. ``taskbridge serve`` is faster, and alone limits connections
before their first request.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from bridge.errors import SettingsError
from bridge.instrumentation import installed
from bridge.settings import Settings
from socket_server.app import SocketServer, new_server
from socket_server.hosting import SOCKET_IO, Host, check_start

__all__ = ["PREFIX", "Application", "create_app"]

logger = logging.getLogger("socket_server")

#: Path prefix of page, scripts and API beside an application; ``/socket.io/`` has none.
PREFIX = "/taskbridge"
#: Imported in ``taskbridge worker --app`` alone, which has no key. Where it imports the module that
#: makes the application's server, it serves nothing, so any key will do.
WORKER = "bridge.worker.own_application"
EMBEDDED = (
    "taskbridge: the server reads the embedded broker in %s. For the broker of "
    "a Celery application call bridge.install(app) before create_app, or "
    "create_app(Bridge(app=app).settings)"
)


def create_app(
    settings: Settings | None = None,
    *,
    wsgi_app: WSGIApplication | None = None,
    prefix: str = PREFIX,
    async_mode: str | None = None,
) -> Application:
    """Return a WSGI application: a socket server, and optionally another application beside it.

    It starts to listen to the broker at its first request, in the process that serves it; call
    :meth:`Application.start` to start earlier.

    Args:
        settings: settings; default ``Settings.from_environ()``, and where they name no broker that
            of a Celery application which was installed in this process.
        wsgi_app: application for all requests but those below ``prefix`` and ``/socket.io/``.
            Without one the server answers at ``/`` itself.
        prefix: path prefix of page, scripts and API beside ``wsgi_app``.
        async_mode: python-socketio's ``threading`` or ``gevent``; default ``gevent`` in a process
            patched by gevent, else ``threading``.

    Raises:
        SettingsError: a setting is wrong, there is no secret, the prefix is empty, or the web
            server that runs this process serves one request at a time.
    """
    if not prefix.strip("/"):
        raise SettingsError("the prefix must name a path, such as /taskbridge")
    check_start(mode := async_mode or _mode())
    settings = settings or installed.with_application(Settings.from_environ())
    if WORKER in sys.modules:
        settings = settings.replace(secret=(secrets.token_urlsafe(48),))
    elif settings.embedded:
        logger.warning(EMBEDDED, settings.home.absolute())
    return Application(new_server(settings, async_mode=mode), wsgi_app, prefix)


class Application:
    """A WSGI application with a socket server; see :func:`create_app`.

    Args:
        server: the socket server.
        wsgi_app: the application beside it; None for none.
        prefix: path prefix of the server beside it.
    """

    def __init__(self, server: SocketServer, wsgi_app: WSGIApplication | None, prefix: str) -> None:
        #: The socket server; namespaces of an application's own can be registered on its ``sio``.
        self.server = server
        self._wsgi_app, self._prefix = wsgi_app, "/" + prefix.strip("/")
        self._own = Host(server.wsgi, server.sio.eio.async_mode, server.bridge.settings)
        self._started: int | None = None
        self._starting = threading.Lock()

    def start(self) -> None:
        """Start to listen to the broker in this process; further calls do nothing."""
        with self._starting:
            if self._started != os.getpid():
                try:
                    self._start()
                finally:  # only now do other threads' requests pass: they waited for the lock
                    self._started = os.getpid()

    def _start(self) -> None:
        server = self.server
        server.start()
        if port := server.bridge.settings.health_port:
            _serve_health(server.health, server.bridge.settings.host, port)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; see PEP 3333."""
        if self._started != os.getpid():
            self.start()
        path = environ.get("PATH_INFO", "")
        if self._wsgi_app is None or path.startswith(SOCKET_IO):
            return self._own(environ, start_response)
        if path == self._prefix or path.startswith(self._prefix + "/"):
            environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + self._prefix
            environ["PATH_INFO"] = path[len(self._prefix) :]
            return self._own(environ, start_response)
        return self._wsgi_app(environ, start_response)


def _mode() -> str:
    """Return ``gevent`` if gevent has patched this process, else ``threading``."""
    patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    return "gevent" if patched and patched("socket") else "threading"


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Log nothing: health checks are frequent."""


def _serve_health(health: Flask, host: str, port: int) -> None:
    try:
        server = make_server(host, port, health, threaded=True, request_handler=_Quiet)
    except (OSError, SystemExit) as error:  # werkzeug exits when the port is taken
        logger.warning("taskbridge: no health at %s:%s: %s", host, port, error)
        return
    threading.Thread(target=server.serve_forever, daemon=True, name="taskbridge-health").start()
