"""``HealthServer``: /healthz and /metrics of an archive, on a port and threads of its own."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterable
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bridge.errors import TaskbridgeError
from socket_server.archive.figures import Figures

__all__ = ["HealthServer"]

#: Seconds that a client may take to send its request.
PATIENCE = 5.0


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing: checks come every few seconds."""


class HealthServer:
    """Answers until the process ends.

    Args:
        figures: what is told.
        channel: channel of the archive.
        host: address to bind.
        port: port to bind.

    Raises:
        TaskbridgeError: the port is taken.
    """

    def __init__(self, figures: Figures, channel: str, host: str, port: int) -> None:
        self._figures, self._channel = figures, channel
        self._registry = CollectorRegistry()
        self._registry.register(figures)
        try:
            server = make_server(host, port, self._answer, _Server, _Handler)
        except OSError as error:
            raise TaskbridgeError(
                f"cannot listen on {host}:{port} ({error.strerror}): set TASKBRIDGE_ARCHIVE_PORT"
            ) from None
        threading.Thread(target=server.serve_forever, name="health", daemon=True).start()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
            return [generate_latest(self._registry)]
        if path != "/healthz":
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"there is nothing here\n"]
        reason = self._figures.illness()
        figures = self._figures
        told: dict[str, object] = {"status": "ok", "channel": self._channel, "lag": figures.lag}
        if (webhooks := figures.webhooks) is not None:
            told["webhooks"] = webhooks.told()
        if reason is not None:
            told |= {"status": "unavailable", "reason": reason}
        status = "200 OK" if reason is None else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(told).encode()]
