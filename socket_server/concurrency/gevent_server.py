"""HTTP on gevent: a server that accepts only connections that a gate admits."""

from __future__ import annotations

import io
import logging
import socket
import ssl
from collections.abc import Callable
from email import errors
from functools import partial
from types import TracebackType
from typing import Any
from wsgiref.types import WSGIEnvironment

import gevent
from gevent import pywsgi

from socket_server.concurrency.wsgi import (
    AT_ONCE,
    CONNECTION,
    DETACHED,
    HANG_UP,
    HTTP_BUFFER,
    SOCKET_TIMEOUT,
    UPGRADED,
    Detached,
    Peer,
    Site,
    forget_connection,
)

__all__ = ["serve"]

logger = logging.getLogger("socket_server")

#: Bytes of the headers of a request; gevent's own limit is 6.5 MB.
HEADERS = 16 * 1024
#: What the parser of headers makes of a line that is none: it reads no header after it.
MALFORMED = errors.FirstHeaderLineIsContinuationDefect, errors.MissingHeaderBodySeparatorDefect
#: Seconds without accepting after an error, of which too many open files is the usual one.
PAUSE = 0.1


def serve(listener: socket.socket, site: Site) -> Callable[[], None]:
    """Serve a site at a listening socket, in the background.

    Returns:
        Function that ends accepting; connections stay.

    Raises:
        OSError: the certificate cannot be used.
    """
    door = Door(listener, site)
    door.start()
    close: Callable[[], None] = door.close
    return close


class Door(pywsgi.WSGIServer):
    """A WSGI server that accepts only connections that the gate admits."""

    max_accept = AT_ONCE

    def __init__(self, listener: socket.socket, site: Site) -> None:
        self._gate = site.gate
        #: WebSockets whose requests are about to end.
        self.detached: dict[socket.socket, Detached] = {}
        self._context: ssl.SSLContext | None = None
        if site.certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*site.certificate)
        scheme = "https" if self._context else "http"
        # gevent would look up the name of this machine with DNS.
        environ = {"SERVER_NAME": listener.getsockname()[0], "wsgi.url_scheme": scheme}
        options = {"log": None, "error_log": None, "handler_class": Handler, "environ": environ}
        super().__init__(listener, site.application, spawn=site.most, **options)

    def do_read(self) -> tuple[socket.socket, Peer] | None:
        """Accept a connection; return None if there is none, or the gate does not admit it.

        gevent's hub calls this, so that nothing in it may wait: the TLS handshake takes place when
        the connection's greenlet reads.
        """
        try:
            accepted = super().do_read()
        except OSError as error:
            # The error concerns this connection, or there are too many open files.
            logger.warning("taskbridge: a connection could not be accepted: %s", error)
            self.stop_accepting()
            gevent.spawn_later(PAUSE, self._start_accepting_if_started)
            return None
        return accepted and self._admitted(*accepted)

    def _admitted(self, connection: Any, peer: Peer) -> tuple[socket.socket, Peer] | None:
        try:
            connection.settimeout(SOCKET_TIMEOUT)
            if self._context is not None:
                connection = self._context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                )
            if self._gate is None or self._gate.admit(peer, connection):
                return connection, peer
        except (OSError, ValueError) as error:  # the client is gone already
            logger.debug("taskbridge: a connection ended: %s", error)
        connection.close()
        return None

    def do_close(self, connection: socket.socket, peer: Peer) -> None:
        """Close a connection whose greenlet has ended; it leaves the gate."""
        detached = self.detached.pop(connection, None)
        if detached is None:
            connection.close()
        if (gate := self._gate) is not None:
            leave = partial(gate.leave, peer)
            leave() if detached is None else detached.at_end(leave)
        if detached is not None:
            detached.start()


class Headers:
    """The headers of a request, which are read up to a limit.

    Args:
        lines: file of the connection.
    """

    def __init__(self, lines: io.BufferedIOBase) -> None:
        self._lines, self._left = lines, HEADERS

    def readline(self, size: int = HEADERS) -> bytes:
        """Return the next line; see ``io.IOBase.readline``.

        Raises:
            ValueError: the headers are larger than the limit.
        """
        line = self._lines.readline(min(size, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise ValueError("the headers are too large")
        return line


class Handler(pywsgi.WSGIHandler):
    """gevent's HTTP protocol with a small buffer, and without log lines about bad requests."""

    # What a client has closed, or the gate has shut, is no error.
    ignored_socket_errors = frozenset(range(4096))

    def __init__(self, connection: socket.socket, peer: Peer, server: Door) -> None:
        # Each connection keeps it until it ends or becomes a WebSocket; gevent's has 8 KiB.
        super().__init__(connection, peer, server, connection.makefile("rb", HTTP_BUFFER))

    def handle(self) -> None:
        """Answer the connection's requests until it ends."""
        try:
            super().handle()
        except (OSError, ValueError) as error:  # ssl raises ValueError
            logger.debug("taskbridge: a connection ended: %s", error)

    def MessageClass(self, lines: io.BufferedIOBase, *rest: object) -> Any:  # noqa: N802
        """Parse the headers of a request."""
        return super().MessageClass(Headers(lines), *rest)

    def read_request(self, raw_requestline: str) -> bool:
        """Parse the head of a request; see ``WSGIHandler.read_request``.

        Raises:
            ValueError: a proxy may have read the request differently.
        """
        if len(raw_requestline.split()) != 3:
            raise ValueError("a request line without a version")
        super().read_request(raw_requestline)
        headers: Any = self.headers
        malformed = any(isinstance(defect, MALFORMED) for defect in headers.defects)
        if malformed or len(headers.get_all("content-length", [])) > 1:
            raise ValueError("malformed headers, or two lengths")
        return True

    def get_environ(self) -> WSGIEnvironment:
        """Return a request's environment, with what acts on its connection."""
        environ: WSGIEnvironment = super().get_environ()
        environ[HANG_UP], environ[UPGRADED] = self._hang_up, self._let_go
        environ[CONNECTION] = self.socket
        return environ

    def process_result(self) -> None:
        """Write an answer, but not on a WebSocket."""
        if DETACHED not in self.environ:
            super().process_result()

    def handle_one_response(self) -> None:
        """Answer a request; a WebSocket that goes on is kept open."""
        super().handle_one_response()
        if (detached := self.environ.get(DETACHED)) is not None:
            self.server.detached[self.environ[CONNECTION]] = detached
            self.socket: socket.socket | None = None
        forget_connection(self.environ)

    def _hang_up(self) -> None:
        # Otherwise gevent would read all of the body of a refused request.
        self.wsgi_input = pywsgi.Input(self.rfile, 0)
        self.close_connection = True

    def _let_go(self) -> None:
        # A WebSocket may last for days, and does not need the request with which it began.
        self._hang_up()
        self.rfile.close()
        self.headers = None

    def _handle_client_error(self, _: Exception) -> tuple[str, bytes]:
        return "400", pywsgi._BAD_REQUEST_RESPONSE

    def _log_error(self, kind: type, error: BaseException, trace: TracebackType) -> None:
        if isinstance(error, OSError):
            logger.debug("taskbridge: a connection ended: %s", error)
        else:
            logger.error("taskbridge: a request failed", exc_info=(kind, error, trace))

    def log_request(self) -> None:
        """Log nothing: requests are counted, and clients are logged."""
