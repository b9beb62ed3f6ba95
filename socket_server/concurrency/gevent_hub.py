"""The hub of gevent."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import Any, ClassVar, TypeVarTuple

import gevent._socket3
import gevent._socketcommon

from socket_server.concurrency.hub import Parts, unencrypted

__all__ = ["GeventHub"]

A = TypeVarTuple("A")
#: libev's ``EV_READ``.
READ = 1


class GeventHub:
    """gevent's event loop; see ``Hub``."""

    library: ClassVar[object] = gevent
    parts: ClassVar[Parts] = {
        "_socket3.socket": ("self._sock = self._gevent_sock_class(",),
        "_socketcommon.SocketMixin": ("return self._sock.send(data, flags)",),
    }

    def call_soon(self, call: Callable[[*A], object], *arguments: *A) -> None:
        """Let the hub make a call when the running greenlet yields."""
        gevent.get_hub().loop.run_callback(call, *arguments)

    def call_later(self, seconds: float, call: Callable[[*A], object], *arguments: *A) -> None:
        """Let the hub make a call after some seconds; with 0, after a look at all sockets."""
        # With update, seconds count from now, not from when the hub last looked at the clock.
        gevent.get_hub().loop.timer(seconds).start(call, *arguments, update=True)

    def add_reader(self, plain: socket, call: Callable[..., object]) -> object:
        """Let the hub make a call whenever a socket can be read."""
        reader = gevent.get_hub().loop.io(plain.fileno(), READ)
        reader.start(call)
        return reader

    def remove_reader(self, reader: Any) -> None:
        """End what ``add_reader`` began."""
        reader.close()

    def forget_waiters(self, queue: object) -> None:
        """Do nothing: the attributes of gevent's queues cannot be set."""

    def plain(self, green: object) -> socket | None:
        """Return the non-blocking socket of a green one; None if it is encrypted, or not green."""
        return unencrypted(getattr(green, "_sock", None))
