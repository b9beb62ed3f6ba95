"""The hub of eventlet."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket
from typing import Any, ClassVar, TypeVarTuple

import eventlet.greenio.base
import eventlet.hubs.hub
from eventlet.hubs import get_hub
from eventlet.hubs.hub import READ

from socket_server.concurrency.hub import Parts, unencrypted

__all__ = ["EventletHub"]

A = TypeVarTuple("A")


class EventletHub:
    """eventlet's event loop; see ``Hub``."""

    library: ClassVar[object] = eventlet
    parts: ClassVar[Parts] = {
        "greenio.base.GreenSocket": ("self.fd = fd",),
        "hubs.hub.BaseHub.schedule_call_global": (),
        "hubs.hub.BaseHub.add": ("self.lclass(evtype, fileno, cb, tb, mark_as_closed)",),
        "hubs.hub.BaseHub.remove": ("if listener.spent:",),
    }

    def call_soon(self, call: Callable[[*A], object], *arguments: *A) -> None:
        """Let the hub make a call when the running greenlet yields."""
        get_hub().schedule_call_global(0, call, *arguments)

    def call_later(self, seconds: float, call: Callable[[*A], object], *arguments: *A) -> None:
        """Let the hub make a call after some seconds."""
        get_hub().schedule_call_global(seconds, call, *arguments)

    def add_reader(self, plain: socket, call: Callable[..., object]) -> object:
        """Let the hub make a call whenever a socket can be read."""
        return get_hub().add(READ, plain.fileno(), call, call, None)

    def remove_reader(self, reader: Any) -> None:
        """End what ``add_reader`` began."""
        get_hub().remove(reader)

    def forget_waiters(self, queue: Any) -> None:
        """Free what a queue keeps for greenlets that wait for it."""
        queue.getters = queue.putters = frozenset()

    def plain(self, green: object) -> socket | None:
        """Return the non-blocking socket of a green one; None if it is encrypted, or not green."""
        return unencrypted(getattr(green, "fd", None))
