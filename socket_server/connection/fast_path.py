"""Whether the parts of libraries that direct sockets use are where they were.

docs/private-reach.md lists them, and says why each is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import reduce

from socket_server.concurrency.hub import Hub, Parts

__all__ = ["moved"]

#: Lines that direct sockets rely on, by the function, class or module that has them.
ENGINE = {
    "Server._handle_connect": ("self.sockets[sid] = s",),
    "socket.Socket._upgrade_websocket": ("self._websocket_handler, self.server)",),
    "socket.Socket._websocket_handler": ("self.upgraded = True", "self.connected = True"),
    "socket.Socket.schedule_ping": ("self.last_ping = None",),
}


def moved(hub: Hub) -> list[str]:
    """Return the names of the parts that the installed libraries do not have as expected."""
    import engineio.socket

    return [*_moved(engineio, ENGINE), *_moved(hub.library, hub.parts)]


def _moved(library: object, parts: Parts) -> Iterator[str]:
    for name, lines in parts.items():
        try:
            part = reduce(getattr, name.split("."), library)
            source = inspect.getsource(part)  # type: ignore[arg-type]  # a module, class, function
        except OSError:
            continue  # installed without sources
        except AttributeError:
            source = ""
        if not source or not all(line in source for line in lines):
            yield f"{getattr(library, '__name__', '')}.{name}"
