"""``python -m socket_server``: serves with eventlet, and patches the standard library for it."""

import sys
import warnings

from bridge import extras

if __name__ == "__main__" and (_absent := extras.missing("server")):
    sys.stderr.write(f"taskbridge: {_absent}\n")
    sys.exit(2)

with warnings.catch_warnings():
    # eventlet warns at each import that it is in bug-fix mode, which is an accepted risk.
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
    import eventlet

eventlet.monkey_patch()

import contextlib  # noqa: E402
import gc  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import ssl  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any, TypeAlias  # noqa: E402
from wsgiref.types import WSGIApplication, WSGIEnvironment  # noqa: E402

import eventlet.event  # noqa: E402
import eventlet.websocket  # noqa: E402
import eventlet.wsgi  # noqa: E402

from bridge import tracing  # noqa: E402
from bridge.errors import SettingsError, TaskbridgeError  # noqa: E402
from bridge.sending.process_emitters import flush_all  # noqa: E402
from bridge.settings import Settings  # noqa: E402
from socket_server.app import SocketServer, new_server  # noqa: E402
from socket_server.connection.bounded_websocket import UPGRADED  # noqa: E402
from socket_server.connection.guard_middleware import HANG_UP  # noqa: E402
from socket_server.draining import Draining  # noqa: E402
from socket_server.limits.connections import ConnectionLimits, Peer  # noqa: E402
from socket_server.messages.packet_checks import unmask  # noqa: E402
from socket_server.observability import logs  # noqa: E402

__all__ = ["main", "serve"]

logger = logging.getLogger("socket_server")

#: Timeout in seconds of one read from, or write to, a connection.
SOCKET_TIMEOUT = 30
#: Greenlets beyond those of the connections that the gate admits, as a margin.
SPARE = 100
#: Concurrent connections to the health port.
HEALTH_CONNECTIONS = 100
#: Bytes that the kernel buffers for a client that does not read: with the megabytes that it
#: buffers by default, such a client would be noticed late.
SEND_BUFFER = 128 * 1024
#: Bytes of an HTTP request, and of an answer, that are read and written at once.
HTTP_BUFFER = 1024
#: Garbage collector's threshold for the youngest generation. One nested message makes more objects
#: than CPython's default (700 in 3.11), so a client could force full collections at will.
YOUNG = 10_000

#: A connection as eventlet's WSGI server keeps it: address of the peer, socket, state.
Connection: TypeAlias = list[Any]


def main() -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        Exit status: 0 after a signal, 1 if a port is taken, 2 if a setting is wrong.
    """
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        settings = Settings.from_environ()
        logs.configure(settings.log_format)
        tracing.start(settings, "taskbridge-server")
        return serve(new_server(settings), settings)
    except TaskbridgeError as error:
        sys.stderr.write(f"taskbridge: {error}\n")
        return 2 if isinstance(error, SettingsError) else 1


def serve(server: SocketServer, settings: Settings) -> int:
    """Serve a server, which may have an application's own namespaces, until SIGTERM or SIGINT.

    Import this module first: it patches the standard library. Then make a server with
    ``new_server(settings)``, register namespaces on its ``sio``, and call this.

    Returns:
        Exit status 0.

    Raises:
        TaskbridgeError: a port is taken.
    """
    stopping = eventlet.event.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: eventlet.spawn_after(0, _stop, stopping, server.draining))
    eventlet.websocket.RFC6455WebSocket._apply_mask = staticmethod(unmask)
    _raise_file_limit()
    door = Door(_listen(settings.host, settings.port, settings), server.gate)
    pool = Pool(server.gate, settings.max_connections + SPARE)
    _serve(server.wsgi.__call__, door, custom_pool=pool)
    if settings.health_port:
        listener = _listen(settings.host, settings.health_port)
        _serve(server.health, listener, max_size=HEALTH_CONNECTIONS)
    server.start()
    # Objects that exist now stay. Unless frozen, each full collection would scan them, which blocks
    # all clients for 70 ms and more.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    scheme = "https" if settings.certfile else "http"
    logger.info("taskbridge: serving on %s://%s:%s", scheme, settings.host, settings.port)
    if settings.embedded:
        logger.warning("taskbridge: the embedded broker is for one machine, not for production")
    stopping.wait()
    door.close()
    server.drain()
    flush_all(timeout=2.0)
    return 0


def _stop(stopping: eventlet.event.Event, draining: Draining) -> None:
    if stopping.ready():
        draining.hurry = True  # the second signal
    else:
        stopping.send()


class Door:
    """A listening socket that accepts only connections that the gate admits."""

    def __init__(self, listener: socket.socket, gate: ConnectionLimits) -> None:
        self._listener, self._gate = listener, gate
        self._closed = False

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
            eventlet.sleep(0)  # a flood of connections must not starve open ones
            if self._gate.admit(peer, connection):
                return connection, peer
            connection.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._listener, name)


class Protocol(eventlet.wsgi.HttpProtocol):
    """eventlet's HTTP protocol with small buffers, and without log lines about bad requests."""

    # Each connection keeps both until it ends or becomes a WebSocket; eventlet's have 8 and 16 KiB.
    rbufsize = wbufsize = HTTP_BUFFER

    def get_environ(self) -> WSGIEnvironment:
        """Return a request's environment, with callables that act on its connection."""
        environ: WSGIEnvironment = super().get_environ()
        environ[HANG_UP], environ[UPGRADED] = self._hang_up, self._let_go
        return environ

    def _hang_up(self) -> None:
        # Otherwise eventlet would read all of the body of a refused request.
        self.close_connection = 1

    def _let_go(self) -> None:
        # A WebSocket may last for days, and does not need the request with which it began.
        self.rfile.close()
        self.wfile.close()
        self.headers = None
        self.environ.pop("headers_raw", None)

    def log_message(self, *_: object) -> None:
        """Log nothing: a malformed request was answered with an error already."""


class Pool(eventlet.GreenPool):
    """Pool of the connections' greenlets; a connection leaves the gate when its greenlet ends."""

    def __init__(self, gate: ConnectionLimits, size: int) -> None:
        super().__init__(size)
        self._gate = gate

    def spawn(
        self, function: Callable[[Connection], object], connection: Connection
    ) -> eventlet.greenthread.GreenThread:
        """Serve a connection; see ``GreenPool.spawn``."""
        greenlet = super().spawn(_until_gone, function, connection)
        greenlet.link(lambda _: self._gate.leave(connection[0]))
        return greenlet


def _until_gone(function: Callable[[Connection], object], connection: Connection) -> None:
    try:
        function(connection)
    except (OSError, ValueError) as error:  # ssl raises ValueError; eventlet would print both
        logger.debug("taskbridge: a connection ended: %s", error)


def _listen(host: str, port: int, settings: Settings | None = None) -> socket.socket:
    try:
        listener: socket.socket = eventlet.listen((host, port), reuse_port=False, backlog=1024)
    except OSError as error:
        reason = f"cannot listen on {host}:{port} ({error.strerror}): set TASKBRIDGE_PORT"
        raise TaskbridgeError(reason) from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if settings is None or settings.certfile is None:
        return listener
    certificate, key = str(settings.certfile), str(settings.keyfile or settings.certfile)
    try:
        encrypted: socket.socket = eventlet.wrap_ssl(
            listener, certfile=certificate, keyfile=key, server_side=True
        )
    except (OSError, ssl.SSLError) as error:
        reason = f"TASKBRIDGE_CERTFILE={certificate} and its key cannot be used: {error}"
        raise SettingsError(reason) from None
    return encrypted


def _serve(application: WSGIApplication, listener: socket.socket | Door, **options: object) -> None:
    eventlet.spawn(
        eventlet.wsgi.server,
        listener,
        application,
        socket_timeout=SOCKET_TIMEOUT,
        debug=False,
        log_output=False,
        protocol=Protocol,
        **options,
    )


def _raise_file_limit() -> None:
    """Raise the limit of open files, and so of connections, to this user's hard limit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
