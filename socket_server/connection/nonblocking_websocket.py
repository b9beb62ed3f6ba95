"""Non-blocking writes to a client's WebSocket."""

from __future__ import annotations

from socket import socket

from bridge.untyped import WebSocket
from socket_server.concurrency.hub import Hub

__all__ = ["KeptOpen", "NonBlockingWebSocket"]


class NonBlockingWebSocket:
    """A WebSocket's connection, written to without waiting for the client.

    Args:
        websocket: the server's own WebSocket.
        plain: its non-blocking socket.
    """

    def __init__(self, websocket: WebSocket, plain: socket) -> None:
        self._websocket, self._send = websocket, plain.send
        self._lock = websocket.lock
        self._rest: bytes | memoryview = b""
        self._held = False

    @classmethod
    def of(cls, websocket: WebSocket, hub: Hub) -> NonBlockingWebSocket | None:
        """Return the line of a WebSocket; None if it is encrypted, or of simple-websocket."""
        if not hasattr(websocket, "lock"):
            return None
        plain = hub.plain(websocket.socket)
        return None if plain is None else cls(websocket, plain)

    def write(self, data: bytes) -> bool:
        """Write frames; return whether all bytes were taken. If not, ``finish`` writes the rest.

        Raises:
            OSError: the connection has ended.
        """
        if self._lock.locked():  # another greenlet is in the middle of a pong frame
            self._rest = data
            return False
        try:
            sent = self._send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent == len(data):
            return True
        self._held = self._lock.acquire()
        self._rest = memoryview(data)[sent:]  # clients share these bytes; a slice would copy them
        return False

    def finish(self) -> None:
        """Write the bytes that were not taken, waiting for the client.

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
        """Send the closing frame, and close the connection, which may have ended already."""
        self._websocket.close()


class KeptOpen:
    """A WebSocket that python-engineio's writer cannot close.

    Args:
        websocket: the WebSocket.
    """

    __slots__ = ("_websocket",)

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    def close(self) -> None:
        """Do nothing: the writer of a direct socket ends at once, and would close it."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._websocket, name)
