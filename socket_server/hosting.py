"""What the web server of the WSGI application can do, and a refusal of what it cannot.

A client's WebSocket needs the socket of its connection, for which WSGI has no place, and occupies a
thread or greenlet for as long as it lasts. Every web server has its own way, or none.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from bridge.errors import SettingsError
from bridge.protocol.error_codes import error_object
from bridge.settings import Settings
from socket_server.connection.bounded_socket import SOCKETS, WSGIObject
from socket_server.connection.guard_middleware import (
    answer_with,
    is_event_stream,
    is_websocket,
)
from socket_server.limits.silence import limit_silence

__all__ = ["NO_WEBSOCKETS", "SOCKET_IO", "Host", "check_start"]

logger = logging.getLogger("socket_server")

#: Path of Socket.IO, with or without an application beside the server.
SOCKET_IO = "/socket.io/"
#: Key of the sentence that says why there are no WebSockets; for the page, which asks over HTTP.
NO_WEBSOCKETS = "taskbridge.no_websockets"
#: Key under which the socket of a connection to uWSGI is passed on, as that of one to gunicorn.
GUNICORN = "gunicorn.socket"

USE = (
    "gunicorn with --worker-class gthread --threads 200 or --worker-class gevent, uWSGI with "
    "--threads 200 or --gevent 1000 --gevent-early-monkey-patch, or `taskbridge serve`"
)
ONE_AT_A_TIME = f"serves one request at a time, which the first client would occupy: use {USE}"
NO_SOCKETS = f"serves no WebSockets: use {USE}"
FALLBACK = "; until then, clients that may use long polling do (transports websocket and polling)"


def check_start(mode: str) -> None:
    """Check the web server of this process, as far as its modules tell.

    Args:
        mode: async mode of python-socketio.

    Raises:
        SettingsError: it serves one request at a time, or its gevent patches too late.
    """
    if (uwsgi := _uwsgi()) is not None:
        if "gevent" in uwsgi.opt and mode != "gevent":
            raise SettingsError("uWSGI's option --gevent needs --gevent-early-monkey-patch too")
        if "gevent" not in uwsgi.opt and _threads(uwsgi.opt) < 2:
            raise SettingsError(f"uWSGI without --threads {ONE_AT_A_TIME}")
    elif "gunicorn.workers.sync" in sys.modules:  # gunicorn imports the class of its workers alone
        raise SettingsError(f"gunicorn's sync worker {ONE_AT_A_TIME}")


def _uwsgi() -> ModuleType | None:
    """Return uWSGI's module, which exists in its own processes alone."""
    return sys.modules.get("uwsgi")


def _threads(options: Mapping[str, object]) -> int:
    given = options.get("threads", 1)
    return int(given) if isinstance(given, bytes | str | int) else 1


class Host:
    """Serves an application under a web server; requests that the server cannot serve are refused.

    Args:
        app: WSGI application with Socket.IO.
        mode: async mode of python-socketio.
        settings: whether the application offers long polling; limits of connections.
    """

    def __init__(self, app: WSGIObject, mode: str, settings: Settings) -> None:
        self._app, self._mode, self._settings = app, mode, settings
        self._polling = "polling" in settings.transports
        self._told = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; see PEP 3333."""
        if _uwsgi() is not None and "HTTP_X_FORWARDED_PROTO" in environ:
            # uWSGI believes it from any client, and any text.
            secure = environ.get("HTTPS", "").lower() in ("on", "1")
            environ["wsgi.url_scheme"] = "https" if secure else "http"
        start = _without_hop_by_hop(start_response)
        websocket, stream = is_websocket(environ), is_event_stream(environ)
        stays = stream or environ.get("PATH_INFO", "").startswith(SOCKET_IO)
        if not stays:
            environ[NO_WEBSOCKETS] = self._flaw(environ, websocket=True)
        elif (flaw := self._flaw(environ, websocket)) is not None:
            self._tell(flaw)
            body = json.dumps({"error": error_object("forbidden", flaw)})
            return answer_with("501 Not Implemented", body=body, type="application/json")(start)
        elif websocket and _uwsgi() is not None:
            return self._over_uwsgi(environ, start)
        elif stream and _uwsgi() is not None:
            with _uwsgi_socket() as connection:
                limit_silence(connection, self._settings)
        return self._app(environ, start)

    def _flaw(self, environ: WSGIEnvironment, websocket: bool) -> str | None:
        """Return why the web server cannot serve a client; None if it can."""
        name = environ.get("SERVER_SOFTWARE") or "this web server"
        if not environ.get("wsgi.multithread") and self._mode != "gevent":
            return f"{name} {ONE_AT_A_TIME}"
        if websocket and not _has_socket(environ):
            return f"{name} {NO_SOCKETS}{FALLBACK if self._polling else ''}"
        return None

    def _tell(self, flaw: str) -> None:
        if not self._told:
            self._told = True
            logger.error("taskbridge: a client was refused: %s", flaw)

    def _over_uwsgi(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Serve a WebSocket over the connection's own socket, as under gunicorn.

        uWSGI's own functions for WebSockets work in the thread of the request alone, so that
        nothing could be sent while that waits for a message.
        """
        with _uwsgi_socket() as connection:
            connection.settimeout(None)  # uWSGI's sockets do not block
            environ[GUNICORN] = connection
            try:
                return self._app(environ, start_response)
            except StopIteration:  # python-engineio's end of a WebSocket under gunicorn
                pass
        # What uWSGI writes now must not reach the client. It closes the connection itself: if it
        # were closed here, uWSGI would write to the one that another thread has accepted since.
        with _uwsgi_socket() as connection, contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        start_response("101 Switching Protocols", [])  # for uWSGI's log
        return []


def _uwsgi_socket() -> socket.socket:
    """Return the socket of this request's connection to uWSGI, which closes its own beside it."""
    return socket.socket(fileno=os.dup(sys.modules["uwsgi"].connection_fd()))


def _has_socket(environ: WSGIEnvironment) -> bool:
    """Whether the web server gives access to a connection's socket."""
    gevents_own = str(environ.get("SERVER_SOFTWARE", "")).startswith("gevent")
    return gevents_own or _uwsgi() is not None or any(name in environ for name in SOCKETS)


def _without_hop_by_hop(start_response: StartResponse) -> StartResponse:
    """Leave out the header Connection, which is the web server's to send (PEP 3333)."""

    def start(
        status: str, headers: list[tuple[str, str]], *exc_info: Any
    ) -> Callable[[bytes], object]:
        kept = [one for one in headers if one[0].lower() != "connection"]
        return start_response(status, kept, *exc_info)

    return start
