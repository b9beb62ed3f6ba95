"""``python -m socket_server``: serve with eventlet. The only module that imports it."""

import warnings

with warnings.catch_warnings():
    # eventlet says at each import that it is in bug-fix mode; that is known and weighed.
    warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
    import eventlet

eventlet.monkey_patch()

import logging  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import eventlet.event  # noqa: E402
import eventlet.tpool  # noqa: E402
import eventlet.wsgi  # noqa: E402

from bridge.emitter import flush_all  # noqa: E402
from bridge.errors import SettingsError, TaskbridgeError  # noqa: E402
from bridge.settings import Settings  # noqa: E402
from socket_server.app import SocketServer, new_server  # noqa: E402

__all__ = ["main", "serve"]

logger = logging.getLogger("socket_server")

#: Connections at most; each WebSocket holds one.
MAX_CONNECTIONS = 10_000
#: Seconds that a connection may take to send its request.
SOCKET_TIMEOUT = 30
#: Seconds that clients are given to hear that the server stops.
DRAIN = 0.5


def main() -> int:
    """Serve until SIGTERM or SIGINT.

    Returns:
        Exit status: 0 after a signal, 1 if a port is taken, 2 if a setting is wrong.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        settings = Settings.from_environ()
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
        signal.signal(signum, lambda *_: eventlet.spawn_after(0, _stop, stopping))
    _listen(server.wsgi, settings.host, settings.port)
    if settings.health_port:
        _listen(server.health, settings.host, settings.health_port)
    # One thread: what eventlet has patched of the result backend's library is not for two.
    eventlet.tpool.set_num_threads(1)
    server.aside.run = eventlet.tpool.execute
    server.start()
    logger.info("taskbridge: serving on http://%s:%s", settings.host, settings.port)
    if settings.embedded:
        logger.warning("taskbridge: the embedded broker is for one machine, not for production")
    stopping.wait()
    server.drain()
    eventlet.sleep(DRAIN)
    flush_all(timeout=2.0)
    return 0


def _stop(stopping: Any) -> None:
    if not stopping.ready():
        stopping.send()


def _listen(application: Any, host: str, port: int) -> None:
    try:
        listener = eventlet.listen((host, port), reuse_port=False)
    except OSError as error:
        reason = f"cannot listen on {host}:{port} ({error.strerror}): set TASKBRIDGE_PORT"
        raise TaskbridgeError(reason) from None
    eventlet.spawn(
        eventlet.wsgi.server,
        listener,
        application,
        max_size=MAX_CONNECTIONS,
        socket_timeout=SOCKET_TIMEOUT,
        debug=False,
        log_output=False,
    )


if __name__ == "__main__":
    sys.exit(main())
