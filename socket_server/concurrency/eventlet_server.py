"""HTTP on eventlet: a server that accepts only connections that a gate admits."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias
from wsgiref.types import WSGIEnvironment

import eventlet
import eventlet.event
import eventlet.wsgi

from socket_server.concurrency.wsgi import (
    AT_ONCE,
    CONNECTION,
    DETACHED,
    HANG_UP,
    HTTP_BUFFER,
    SOCKET_TIMEOUT,
    UPGRADED,
    Detached,
    Gate,
    Peer,
    Site,
    forget_connection,
)

__all__ = ["serve"]

logger = logging.getLogger("socket_server")

#: A connection as eventlet's WSGI server keeps it: address of the peer, socket, state.
Connection: TypeAlias = list[Any]


def serve(listener: socket.socket, site: Site) -> Callable[[], None]:
    """Serve a site at a listening socket, in the background.

    Returns:
        Function that ends accepting; connections stay.

    Raises:
        OSError: the certificate cannot be used.
    """
    if site.certificate is not None:
        certificate, key = site.certificate
        listener = eventlet.wrap_ssl(listener, certfile=certificate, keyfile=key, server_side=True)
    door = Door(listener, site.gate)
    eventlet.spawn(
        eventlet.wsgi.server,
        door,
        site.application,
        custom_pool=Pool(site.gate, site.most),
        socket_timeout=SOCKET_TIMEOUT,
        debug=False,
        log_output=False,
        protocol=Protocol,
        minimum_chunk_size=0,  # eventlet keeps 4 KiB back: an event stream's next event may be late
    )
    return door.close


class Door:
    """A listening socket that accepts only connections that the gate admits."""

    def __init__(self, listener: socket.socket, gate: Gate | None) -> None:
        self._listener, self._gate = listener, gate
        self._closed, self._accepted = False, 0

    def close(self) -> None:
        """Accept no more connections."""
        self._closed = True
        self._listener.close()

    def accept(self) -> tuple[socket.socket, Peer]:
        """Return a connection and its peer's address; see ``socket.accept``."""
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError as error:
                if self._closed:
                    eventlet.event.Event().wait()  # blocks until the process ends
                # The error concerns this connection, or there are too many open files.
                logger.warning("taskbridge: a connection could not be accepted: %s", error)
                eventlet.sleep(0.1)
                continue
            self._accepted += 1
            if self._accepted % AT_ONCE == 0:
                eventlet.sleep(0)  # a flood of connections must not starve open ones
            if self._gate is None or self._gate.admit(peer, connection):
                return connection, peer
            connection.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._listener, name)


class Protocol(eventlet.wsgi.HttpProtocol):
    """eventlet's HTTP protocol with small buffers, and without log lines about bad requests."""

    # Each connection keeps both until it ends or becomes a WebSocket; eventlet's have 8 and 16 KiB.
    rbufsize = wbufsize = HTTP_BUFFER

    def get_environ(self) -> WSGIEnvironment:
        """Return a request's environment, with what acts on its connection."""
        environ: WSGIEnvironment = super().get_environ()
        environ[HANG_UP], environ[UPGRADED] = self._hang_up, self._let_go
        environ[CONNECTION] = self.connection
        return environ

    def _hang_up(self) -> None:
        # Otherwise eventlet would read all of the body of a refused request.
        self.close_connection = 1

    def _let_go(self) -> None:
        eventlet.wsgi.WSGI_LOCAL.already_handled = True  # the WebSocket sends its own answer
        # A WebSocket may last for days, and does not need the request with which it began.
        self.rfile.close()
        self.wfile.close()
        self.headers = None
        self.environ.pop("headers_raw", None)

    def finish(self) -> None:
        """End a connection, unless it is a WebSocket that goes on."""
        environ = getattr(self, "environ", None) or {}  # None, where a request was malformed
        if (detached := environ.get(DETACHED)) is not None:
            self.conn_state[1] = Kept(detached)
        else:
            super().finish()
        environ.pop("eventlet.input", None)
        forget_connection(environ)

    def log_message(self, *_: object) -> None:
        """Log nothing: a malformed request was answered with an error already."""


class Kept:
    """Takes the place of a WebSocket's connection, which eventlet would close with its request."""

    def __init__(self, detached: Detached) -> None:
        self.detached = detached

    def shutdown(self, _: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Let the hub read the WebSocket, now that the greenlet of its request has ended."""
        self.detached.start()


class Pool(eventlet.GreenPool):
    """Pool of the connections' greenlets; a connection leaves the gate when its greenlet ends."""

    def __init__(self, gate: Gate | None, size: int) -> None:
        super().__init__(size)
        self._gate = gate

    def spawn(
        self, function: Callable[[Connection], object], connection: Connection
    ) -> eventlet.greenthread.GreenThread:
        """Serve a connection; see ``GreenPool.spawn``."""
        return super().spawn(self._serve, function, connection)

    def _serve(self, function: Callable[[Connection], object], connection: Connection) -> None:
        try:
            function(connection)
        except (OSError, ValueError) as error:  # ssl raises ValueError; eventlet would print both
            logger.debug("taskbridge: a connection ended: %s", error)
        finally:
            if self._gate is not None:
                _leave(self._gate, connection)


def _leave(gate: Gate, connection: Connection) -> None:
    peer, kept, _ = connection
    leave = partial(gate.leave, peer)
    if isinstance(kept, Kept):
        kept.detached.at_end(leave)
    else:
        leave()
