"""``limit_silence``: ends TCP connections whose peer acknowledges nothing of what is sent.

A client whose host or network goes without a word leaves its connection half-open. The kernel goes
on to take what is written to it, such as the heartbeats of an event stream, and sends it again and
again: without a limit, a write fails after a quarter of an hour.
"""

from __future__ import annotations

import contextlib
import socket

from bridge.settings import Settings

__all__ = ["limit_silence"]

#: Seconds for which a peer may acknowledge nothing: as long as Engine.IO waits for a pong.
SILENCE = 20.0
#: None where the system has no such option.
USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)


def limit_silence(connection: socket.socket, settings: Settings) -> None:
    """Let the kernel end a connection once its peer has acknowledged nothing for some time.

    The time is 20 seconds, or ``TASKBRIDGE_SLOW_AFTER`` if that is longer: a client that reads
    nothing counts as silent once its buffers are full. Connections inherit it from the socket that
    accepts them. A socket that is not of TCP is left as it is.

    Args:
        connection: a connection, or a listening socket.
        settings: for how long a client may read nothing.
    """
    if USER_TIMEOUT is not None:
        milliseconds = int(max(SILENCE, settings.slow_after) * 1000)
        with contextlib.suppress(OSError):  # the client is gone already, or a Unix socket
            connection.setsockopt(socket.IPPROTO_TCP, USER_TIMEOUT, milliseconds)
