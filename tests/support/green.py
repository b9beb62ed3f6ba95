"""Sockets of eventlet and gevent, in a process that neither has patched."""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["green_socket"]


def green_socket(library: str, plain: socket.socket) -> Any:
    """Return the socket of a library, ``eventlet`` or ``gevent``, in place of a plain one."""
    if library == "gevent":
        from gevent.socket import socket as gevent_socket

        return gevent_socket(plain.family, plain.type, plain.proto, fileno=plain.detach())
    from eventlet.greenio import GreenSocket

    return GreenSocket(plain)
