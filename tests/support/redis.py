"""A Redis of the tests' own."""

from __future__ import annotations

from pathlib import Path

from support.certificates import Certificate
from support.ports import free_port, is_listening
from support.process import Process
from support.tools import need


class Redis:
    """A real redis-server on a free port.

    Args:
        folder: where its log goes, and its data.
        certificate: its own, for TLS; default none.
        authority: certificate by which those of clients are checked; default clients need none.
        kept: whether its data is on disk after each command; default it is never written.
    """

    def __init__(
        self,
        folder: Path,
        certificate: Certificate | None = None,
        authority: Path | None = None,
        kept: bool = False,
    ) -> None:
        self._disk = {"save": "", "appendonly": "yes" if kept else "no", "appendfsync": "always"}
        self.folder, self._certificate, self._authority = folder, certificate, authority
        self.port = free_port()
        self.process: Process | None = None

    @property
    def url(self) -> str:
        """URL of its database 0."""
        if self._certificate:
            return f"rediss://localhost:{self.port}/0"
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Redis:
        """Start it, wait until it accepts connections, and return it."""
        options = {"bind": "127.0.0.1", **self._disk, **self._listening}
        argv = [need("redis-server"), "--dir", str(self.folder)]
        argv += [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.process = Process(argv, log=self.folder / "redis.log")
        self.process.until(lambda: is_listening(self.port), 30, "the first connection")
        return self

    @property
    def _listening(self) -> dict[str, object]:
        if not self._certificate:
            return {"port": self.port}
        chain, key = self._certificate
        return {
            "port": 0,
            "tls-port": self.port,
            "tls-cert-file": chain,
            "tls-key-file": key,
            "tls-ca-cert-file": self._authority or chain,
            "tls-auth-clients": "yes" if self._authority else "no",
        }

    def stop(self) -> None:
        """End it."""
        if self.process:
            self.process.stop()
