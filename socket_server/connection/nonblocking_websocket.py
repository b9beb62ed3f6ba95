"""One client's connection, as far as it takes what is written at once."""

from __future__ import annotations

import _socket
import contextlib
from socket import SHUT_WR
from typing import Any

__all__ = ["KeptOpen", "Line"]


class Line:
    """A WebSocket's connection, written to as far as it takes it at once.

    Args:
        websocket: of eventlet.
        plain: its socket, which does not wait.
    """

    def __init__(self, websocket: Any, plain: Any) -> None:
        self._websocket, self._send = websocket, plain.send
        websocket._msgs = ()  # of a protocol from before the standard; over half a kilobyte
        self._lock = websocket._sendlock
        self._rest: bytes | memoryview = b""
        self._held = False

    @classmethod
    def of(cls, websocket: Any) -> Line | None:
        """Return the line of a WebSocket; None if it is encrypted, or of another mode."""
        plain = getattr(getattr(websocket, "socket", None), "fd", None)
        # Not where it is encrypted: that socket is of a class below socket.socket.
        is_plain = type(plain).__bases__ == (_socket.socket,)
        return cls(websocket, plain) if is_plain and hasattr(websocket, "_sendlock") else None

    def write(self, data: bytes) -> bool:
        """Write frames; whether all were taken, else ``finish`` writes what was not.

        Raises:
            OSError: the connection has ended.
        """
        if self._lock.counter <= 0:  # eventlet answers a ping, and waits in the middle of a frame
            self._rest = data
            return False
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent == len(data):
            return True
        self._held = self._lock.acquire()
        self._rest = memoryview(data)[sent:]  # a copy would be this client's own
        return False

    def finish(self) -> None:
        """Write what was not taken, and wait for that.

        Raises:
            OSError: the connection has ended.
        """
        if not self._rest:
            return
        if not self._held:
            self._lock.acquire()
        try:
            self._websocket.socket.sendall(self._rest)
        finally:
            self._rest, self._held = b"", False
            self._lock.release()

    def close(self) -> None:
        """Say goodbye, and end the connection, which may have ended meanwhile."""
        websocket = self._websocket
        # What its own close() does, which writes a line to the log if the connection has ended.
        with contextlib.suppress(OSError):
            websocket._send_closing_frame(ignore_send_errors=True)
            websocket.socket.shutdown(SHUT_WR)
        websocket.socket.close()


class KeptOpen:
    """A WebSocket that does not end with python-engineio's writer.

    Args:
        websocket: it.
    """

    __slots__ = ("_websocket",)

    def __init__(self, websocket: Any) -> None:
        self._websocket = websocket

    def close(self) -> None:
        """Do nothing: the writer ends at once."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._websocket, name)
