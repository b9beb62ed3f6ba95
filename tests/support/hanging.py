"""A service that accepts connections and never answers."""

from __future__ import annotations

import socket

__all__ = ["Hanging"]


class Hanging:
    """A listener whose kernel accepts connections, which nothing reads."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]

    @property
    def redis(self) -> str:
        """URL of what pretends to be a Redis."""
        return f"redis://127.0.0.1:{self.port}/0"

    def close(self) -> None:
        """Refuse connections from now on, and end those that are open."""
        self._listener.close()

    def __enter__(self) -> Hanging:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
