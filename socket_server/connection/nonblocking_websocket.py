"""``NonBlockingWebSocket``: a WebSocket that is read and written without a waiting greenlet."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket

from bridge.untyped import WebSocket
from socket_server.concurrency.hub import Hub

__all__ = ["NonBlockingWebSocket"]

#: Bytes of one read.
PIECE = 16 * 1024
#: Starts a greenlet.
Spawn = Callable[..., object]


class NonBlockingWebSocket:
    """A WebSocket's connection; a greenlet runs while a client's messages are handled.

    Args:
        websocket: the server's own WebSocket.
        plain: its non-blocking socket.
        hub: the event loop, which reads.
        spawn: starts a greenlet.
    """

    __slots__ = (
        "_at_end",
        "_busy",
        "_closed",
        "_held",
        "_hub",
        "_lock",
        "_plain",
        "_reader",
        "_receive",
        "_rest",
        "_serve",
        "_spawn",
        "_websocket",
    )

    def __init__(self, websocket: WebSocket, plain: socket, hub: Hub, spawn: Spawn) -> None:
        self._websocket, self._plain, self._hub, self._spawn = websocket, plain, hub, spawn
        self._lock = websocket.lock
        self._rest: bytes | memoryview = b""
        self._held = self._busy = self._closed = False
        self._reader: object = None
        self._at_end: list[Callable[[], object]] = []

    @classmethod
    def of(cls, websocket: WebSocket, hub: Hub, spawn: Spawn) -> NonBlockingWebSocket | None:
        """Return the line of a WebSocket; None if it is encrypted, or of simple-websocket."""
        if not hasattr(websocket, "lock"):
            return None
        plain = hub.plain(websocket.socket)
        return None if plain is None else cls(websocket, plain, hub, spawn)

    def serve(self, receive: Callable[[bytes], bool], serve: Callable[[], bool]) -> None:
        """Name the functions for what comes.

        Args:
            receive: takes bytes, and returns whether there is something to do; it may not wait.
            serve: does it, and returns whether the connection goes on. It runs in a greenlet, and
                may wait: until it returns, no more is read.
        """
        self._receive, self._serve = receive, serve

    def at_end(self, call: Callable[[], object]) -> None:
        """Let a call be made when the connection has ended; see ``Detached``."""
        if self._closed:
            call()
        else:
            self._at_end.append(call)

    def start(self) -> None:
        """Begin to read; see ``Detached``."""
        if not self._closed and self._reader is None:
            self._reader = self._hub.add_reader(self._plain, self._read)

    # The hub calls it: nothing in it blocks.
    def _read(self, *_: object) -> None:
        if self._busy or self._closed:
            self._pause()  # back-pressure, or the last call of a reader that was removed
            return
        try:
            data = self._plain.recv(PIECE)
            if data and not self._receive(data):
                return  # a part of a frame
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the connection has ended, or a message is too large
            data = b""
        self._busy = True
        self._spawn(self._handle, bool(data))

    def _pause(self) -> None:
        if self._reader is not None:
            self._hub.remove_reader(self._reader)
            self._reader = None

    def _handle(self, goes_on: bool) -> None:
        # It may have been closed since the hub read.
        goes_on = goes_on and not self._closed and self._serve()
        self._busy = False
        if not goes_on:
            self.close()
        elif self._reader is None:
            self.start()

    def write(self, data: bytes) -> bool:
        """Write frames; return whether all bytes were taken. If not, ``finish`` writes the rest.

        Raises:
            OSError: the connection has ended.
        """
        if self._lock.locked():  # another greenlet is in the middle of a pong frame
            self._rest = data
            return False
        try:
            sent = self._plain.send(data)
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
        self._pause()
        self._closed = True
        self._websocket.close()
        calls, self._at_end = self._at_end, []
        for call in calls:
            call()
