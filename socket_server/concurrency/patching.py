"""The async mode of a process: its patch, before all other imports, its HTTP server and hub."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from bridge.extras import ASYNC_MODES

if TYPE_CHECKING:
    import socket

    from socket_server.concurrency.hub import Hub
    from socket_server.concurrency.wsgi import Site

__all__ = ["VARIABLE", "patch", "requested", "server_of", "hub_of"]

#: Serves a site at a listening socket; returns a function that ends accepting.
Serve: TypeAlias = "Callable[[socket.socket, Site], Callable[[], None]]"

#: Variable of the setting ``async_mode``; settings are parsed only after the patch.
VARIABLE = "TASKBRIDGE_ASYNC_MODE"


def requested(environ: Mapping[str, str]) -> str:
    """Return the async mode that is set, or the default.

    A value that is none counts as the default, until the settings are parsed and refuse it.
    """
    mode = environ.get(VARIABLE)
    return mode if mode in ASYNC_MODES else ASYNC_MODES[0]


def patch(async_mode: str) -> None:
    """Make the standard library that of an async mode, ``eventlet`` or ``gevent``."""
    if async_mode == "gevent":
        from gevent import monkey

        monkey.patch_all()
        return
    with warnings.catch_warnings():
        # eventlet warns at each import that it is in bug-fix mode, which is an accepted risk.
        warnings.filterwarnings("ignore", r"\s*Eventlet is deprecated")
        import eventlet
    eventlet.monkey_patch()


def server_of(async_mode: str) -> Serve:
    """Return the HTTP server of an async mode, ``eventlet`` or ``gevent``."""
    if async_mode == "gevent":
        from socket_server.concurrency.gevent_server import serve as serve_on_gevent

        return serve_on_gevent
    from socket_server.concurrency.eventlet_server import serve

    return serve


def hub_of(async_mode: str) -> Hub | None:
    """Return the hub of an async mode; None for threads."""
    if async_mode == "eventlet":
        from socket_server.concurrency.eventlet_hub import EventletHub

        return EventletHub()
    if async_mode == "gevent":
        from socket_server.concurrency.gevent_hub import GeventHub

        return GeventHub()
    return None
