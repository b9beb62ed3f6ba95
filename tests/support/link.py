"""A TCP link on loopback that can be cut, or swallow what goes through it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable

__all__ = ["Link"]

#: Bytes moved at a time.
CHUNK = 65536


class Link:
    """Forwards connections to a port, until it is told to do worse.

    Args:
        ports: where to, on this machine; of several, each connection goes to the next that answers,
            as with a balancer.
    """

    def __init__(self, *ports: int) -> None:
        self._targets = itertools.cycle(ports)
        self._count = len(ports)
        self._swallow = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._spawn(self._accept)

    def swallow(self) -> None:
        """Take everything and let nothing through; new connections are taken as well."""
        self._swallow.set()

    def cut(self) -> None:
        """Close all connections; new ones are taken."""
        sockets, self._sockets = self._sockets, []
        for end in sockets:
            _hang_up(end)

    def cut_one(self, choose: Callable[[list[socket.socket]], socket.socket]) -> None:
        """Close one connection."""
        if self._sockets:
            end = choose(self._sockets)
            self._sockets.remove(end)
            _hang_up(end)

    def point(self, *ports: int) -> None:
        """Forward to other ports from now on; connections that are open are closed."""
        self._targets, self._count = itertools.cycle(ports), len(ports)
        self.cut()

    def heal(self) -> None:
        """Forward again; connections that lost something are closed, as a peer would."""
        if self._swallow.is_set():
            self._swallow.clear()
            self.cut()

    def close(self) -> None:
        """End everything."""
        self._listener.close()
        self.cut()

    def _spawn(self, target: object, *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()  # type: ignore[arg-type]

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = self._connect()
            if far is None:
                if not self._swallow.is_set():
                    near.close()
                    continue
                far = socket.socket()  # nobody is behind it, and nobody would be reached
            far.settimeout(None)
            self._sockets += [near, far]
            self._spawn(self._pump, near, far)
            self._spawn(self._pump, far, near)

    def _connect(self) -> socket.socket | None:
        for _ in range(self._count):
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", next(self._targets)), timeout=5)
        return None

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                if not self._swallow.is_set():
                    target.sendall(data)
        source.close()
        if not self._swallow.is_set():
            _hang_up(target)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _hang_up(end: socket.socket) -> None:
    # Closing alone would leave a thread that reads from it waiting.
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
