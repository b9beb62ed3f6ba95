"""``python -m socket_server``: serves on eventlet or gevent, and patches the standard library."""

import os
import sys

from bridge import extras
from socket_server.concurrency import patching

#: Async mode of this process; read here, since the patch comes before all other imports.
MODE = patching.requested(os.environ)

if __name__ == "__main__" and (_absent := extras.missing("server", MODE)):
    sys.stderr.write(f"taskbridge: {_absent}\n")
    sys.exit(2)

patching.patch(MODE)

import contextlib  # noqa: E402
import gc  # noqa: E402
import logging  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
from collections.abc import Callable  # noqa: E402
from threading import Event  # noqa: E402

from bridge import tracing  # noqa: E402
from bridge.errors import SettingsError, TaskbridgeError  # noqa: E402
from bridge.sending.process_emitters import flush_all  # noqa: E402
from bridge.settings import Settings  # noqa: E402
from socket_server.app import SocketServer, new_server  # noqa: E402
from socket_server.concurrency.patching import server_of  # noqa: E402
from socket_server.concurrency.wsgi import Site  # noqa: E402
from socket_server.limits.silence import limit_silence  # noqa: E402
from socket_server.observability import logs  # noqa: E402

__all__ = ["main", "serve"]

logger = logging.getLogger("socket_server")

#: Greenlets beyond those of the connections that the gate admits, as a margin.
SPARE = 100
#: Concurrent connections to the health port.
HEALTH_CONNECTIONS = 100
#: Connections that the kernel holds until they are accepted.
BACKLOG = 4096
#: Bytes that the kernel buffers for a client that does not read: with the megabytes that it
#: buffers by default, such a client would be noticed late.
SEND_BUFFER = 128 * 1024
#: Garbage collector's threshold for the youngest generation. One nested message makes more objects
#: than CPython's default (700 in 3.11), so a client could force full collections at will.
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
    """Serve a server, which may have an application's own namespaces, until SIGTERM or SIGINT.

    Import this module first: it patches the standard library for ``TASKBRIDGE_ASYNC_MODE``. Then
    make a server with ``new_server(settings)``, register namespaces on its ``sio``, and call this.

    Returns:
        Exit status 0.

    Raises:
        SettingsError: the certificate cannot be used, or the server was made for another async
            mode than that of the environment.
        TaskbridgeError: a port is taken.
    """
    _check_mode(server)
    stopping = Event()
    _on_signals(server, stopping)
    _raise_file_limit()
    close = _open(server, settings)
    server.start()
    _freeze()
    scheme = "https" if settings.certfile else "http"
    logger.info("taskbridge: serving on %s://%s:%s", scheme, settings.host, settings.port)
    if settings.embedded:
        logger.warning("taskbridge: the embedded broker is for one machine, not for production")
    stopping.wait()
    close()
    server.drain()
    flush_all(timeout=2.0)
    return 0


def _check_mode(server: SocketServer) -> None:
    if (mode := server.sio.eio.async_mode) != MODE:
        raise SettingsError(
            f"the server was made for {mode}, and the process runs on {MODE}: set "
            f"{patching.VARIABLE}={mode} in its environment"
        )


def _on_signals(server: SocketServer, stopping: Event) -> None:
    """Let the first SIGTERM or SIGINT begin the draining, and the second hurry it."""

    def stop() -> None:
        if stopping.is_set():
            server.draining.hurry = True
        stopping.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        # In a greenlet of its own: a signal may interrupt any other, which may hold a lock.
        signal.signal(signum, lambda *_: server.sio.start_background_task(stop))


def _open(server: SocketServer, settings: Settings) -> Callable[[], None]:
    """Open the ports; return a function that lets no more clients in."""
    serve_site = server_of(MODE)
    certificate = None
    if settings.certfile is not None:
        certificate = str(settings.certfile), str(settings.keyfile or settings.certfile)
    most = settings.max_connections + SPARE
    clients = Site(server.wsgi.__call__, most, server.gate, certificate)
    try:
        close = serve_site(_listen(settings, settings.port), clients)
    except OSError as error:  # ssl.SSLError is one
        if certificate is None:
            raise
        reason = f"TASKBRIDGE_CERTFILE={settings.certfile} and its key cannot be used: {error}"
        raise SettingsError(reason) from None
    if settings.health_port:
        health = Site(server.health, HEALTH_CONNECTIONS)
        serve_site(_listen(settings, settings.health_port), health)
    return close


def _listen(settings: Settings, port: int) -> socket.socket:
    host, listener = settings.host, socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    limit_silence(listener, settings)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        reason = f"cannot listen on {host}:{port} ({error.strerror}): set TASKBRIDGE_PORT"
        raise TaskbridgeError(reason) from None
    return listener


def _freeze() -> None:
    """Leave the objects that exist now to the end of the process.

    Each full collection would scan them, which blocks all clients for 70 ms and more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)


def _raise_file_limit() -> None:
    """Raise the limit of open files, and so of connections, to this user's hard limit."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
