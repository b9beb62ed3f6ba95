"""``python -m socket_server``: serve with eventlet. The only module that imports it."""

import warnings

with warnings.catch_warnings():
    # eventlet says at each import that it is in bug-fix mode; that is known and weighed.
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
    import eventlet

eventlet.monkey_patch()

import contextlib  # noqa: E402
import gc  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import ssl  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import eventlet.event  # noqa: E402
import eventlet.websocket  # noqa: E402
import eventlet.wsgi  # noqa: E402

from bridge import tracing  # noqa: E402
from bridge.errors import SettingsError, TaskbridgeError  # noqa: E402
from bridge.sending.emitter import flush_all  # noqa: E402
from bridge.settings import Settings  # noqa: E402
from socket_server.app import SocketServer, new_server  # noqa: E402
from socket_server.connection.bounded_websocket import UPGRADED, unmask  # noqa: E402
from socket_server.connection.guard_middleware import HANG_UP  # noqa: E402
from socket_server.draining import Draining  # noqa: E402
from socket_server.limits.connections import Gate  # noqa: E402
from socket_server.observability import logs  # noqa: E402

__all__ = ["main", "serve"]

logger = logging.getLogger("socket_server")

#: Seconds that a connection may take to send or take something.
SOCKET_TIMEOUT = 30
#: Greenlets beyond those of admitted connections, which may not have ended when the gate knows.
SPARE = 100
#: Connections of the port for health alone.
HEALTH_CONNECTIONS = 100
#: Bytes that the kernel holds for a client that does not read: with the megabytes that it takes
#: by default, such a client would be noticed late.
SEND_BUFFER = 128 * 1024
#: Bytes of an HTTP request, and of an answer, that are read and written at once.
HTTP_BUFFER = 1024
#: Objects between two collections of the youngest: CPython's 700 are fewer than one nested message
#: makes, so that a client could have everything collected as often as it liked.
YOUNG = 10_000


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
    """Serve until SIGTERM or SIGINT; for an application that put handlers of its own on a server.

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
    # What is here now stays. Else each full collection looks through all of it, for 70 ms and more
    # in which no client has its turn.
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


def _stop(stopping: Any, draining: Draining) -> None:
    if stopping.ready():
        draining.hurry = True  # it was said twice
    else:
        stopping.send()


class Door:
    """A listening socket from which only those come in whom the gate admits."""

    def __init__(self, listener: Any, gate: Gate) -> None:
        self._listener, self._gate = listener, gate
        self._closed = False

    def close(self) -> None:
        """Let nobody in any more."""
        self._closed = True
        self._listener.close()

    def accept(self) -> Any:
        """Return a connection and its peer's address; see ``socket.accept``."""
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError as error:
                if self._closed:
                    eventlet.event.Event().wait()  # without an end: the process has one
                # Whatever it is, it is about that connection, or about there being too many.
                logger.warning("taskbridge: a connection could not be accepted: %s", error)
                eventlet.sleep(0.1)
                continue
            eventlet.sleep(0)  # a flood of connections is not to starve those that are there
            if self._gate.admit(peer, connection):
                return connection, peer
            connection.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


class Protocol(eventlet.wsgi.HttpProtocol):
    """HTTP of which nothing lands in the log that a client has made up."""

    # Each connection keeps both for as long as it lasts; eventlet's are of 8 and 16 KiB.
    rbufsize = wbufsize = HTTP_BUFFER

    def get_environ(self) -> dict[str, Any]:
        """Return a request's environment, with what others may do about its connection."""
        environ: dict[str, Any] = super().get_environ()
        environ[HANG_UP], environ[UPGRADED] = self._hang_up, self._let_go
        return environ

    def _hang_up(self) -> None:
        # Without it, eventlet would read all of a body that was refused.
        self.close_connection = 1

    def _let_go(self) -> None:
        # A WebSocket may last for days, and needs nothing of the request with which it began.
        self.rfile.close()
        self.wfile.close()
        self.headers = None
        self.environ.pop("headers_raw", None)

    def log_message(self, *_: Any) -> None:
        """Say nothing of a request that is none; it was answered so."""


class Pool(eventlet.GreenPool):
    """The greenlets of connections; the gate is told when one is over."""

    def __init__(self, gate: Gate, size: int) -> None:
        super().__init__(size)
        self._gate = gate

    def spawn(self, function: Any, connection: Any) -> Any:
        """Serve a connection; see ``GreenPool.spawn``."""
        greenlet = super().spawn(_until_gone, function, connection)
        greenlet.link(lambda _: self._gate.leave(connection[0]))
        return greenlet


def _until_gone(function: Any, connection: Any) -> None:
    try:
        function(connection)
    except (OSError, ValueError) as error:  # ssl raises the latter; eventlet would print either
        logger.debug("taskbridge: a connection ended: %s", error)


def _listen(host: str, port: int, settings: Settings | None = None) -> Any:
    try:
        listener = eventlet.listen((host, port), reuse_port=False, backlog=1024)
    except OSError as error:
        reason = f"cannot listen on {host}:{port} ({error.strerror}): set TASKBRIDGE_PORT"
        raise TaskbridgeError(reason) from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if settings is None or settings.certfile is None:
        return listener
    certificate, key = str(settings.certfile), str(settings.keyfile or settings.certfile)
    try:
        return eventlet.wrap_ssl(listener, certfile=certificate, keyfile=key, server_side=True)
    except (OSError, ssl.SSLError) as error:
        reason = f"TASKBRIDGE_CERTFILE={certificate} and its key cannot be used: {error}"
        raise SettingsError(reason) from None


def _serve(application: Any, listener: Any, **options: Any) -> None:
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
    """Let as many files be open, and so connections, as this user may have at all."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
