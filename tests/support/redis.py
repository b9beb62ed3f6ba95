"""A Redis of the tests' own."""

from __future__ import annotations

from pathlib import Path

from support.ports import free_port, is_listening
from support.process import Process
from support.tools import need


class Redis:
    """A real redis-server on a free port, with nothing kept on disk.

    Args:
        folder: where its log goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.process: Process | None = None

    @property
    def url(self) -> str:
        """URL of its database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Redis:
        """Start it, wait until it accepts connections, and return it."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        argv = [need("redis-server"), "--dir", str(self.folder)]
        argv += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.process = Process(argv, log=self.folder / "redis.log")
        self.process.until(lambda: is_listening(self.port), 10, "the first connection")
        return self

    def stop(self) -> None:
        """End it."""
        if self.process:
            self.process.stop()
