"""``Hub``: what direct sockets ask of the event loop of eventlet or gevent."""

from __future__ import annotations

import _socket
from collections.abc import Callable, Mapping
from socket import socket
from typing import Any, ClassVar, Protocol, TypeVarTuple

__all__ = ["Hub", "Parts", "unencrypted"]

A = TypeVarTuple("A")

#: Lines of a library's source, by the module, class or function of the library that has them.
Parts = Mapping[str, tuple[str, ...]]


class Hub(Protocol):
    """The event loop; the functions that it calls may not wait."""

    #: Module of the library.
    library: ClassVar[object]
    #: What is used of the library beside its documented interface.
    parts: ClassVar[Parts]

    def call_soon(self, call: Callable[[*A], object], *arguments: *A) -> None:
        """Let the hub make a call when the running greenlet yields."""

    def call_later(self, seconds: float, call: Callable[[*A], object], *arguments: *A) -> None:
        """Let the hub make a call after some seconds; with 0, after a look at all sockets."""

    def add_reader(self, plain: socket, call: Callable[..., object]) -> object:
        """Let the hub make a call whenever a socket can be read; return the reader.

        Args:
            plain: a non-blocking socket, which no greenlet reads.
            call: function that may be given arguments, which mean nothing.
        """

    def remove_reader(self, reader: Any) -> None:
        """End what ``add_reader`` began; the socket must not be closed yet."""

    def forget_waiters(self, queue: object) -> None:
        """Free what a queue of the library keeps for greenlets that wait for it: none will."""

    def plain(self, green: object) -> socket | None:
        """Return the non-blocking socket of a green one; None if it is encrypted, or not green."""


def unencrypted(plain: socket | None) -> socket | None:
    """Return a socket if it is not encrypted, else None."""
    # An encrypted socket is of a subclass of the class that its library uses.
    return plain if type(plain).__bases__ == (_socket.socket,) else None
