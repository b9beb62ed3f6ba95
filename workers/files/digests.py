"""``Digests``: the digests of files that are done, as the checkpoint of a job."""

from __future__ import annotations

import base64
import hashlib
import heapq
import time
from typing import NamedTuple

from bridge import job

__all__ = ["Digests", "Measured"]

#: Most digests that are kept, of the largest files: a checkpoint takes 64 KiB at most.
MOST = 1000
#: Seconds between two checkpoints: what takes less to read is read again.
INTERVAL = 0.1


class Measured(NamedTuple):
    """A file, as it was when it was found."""

    #: Path below the folder.
    name: str
    size: int
    #: Nanoseconds since the epoch of its last change.
    changed: int

    @property
    def key(self) -> str:
        """What tells the file, and this version of it, from others."""
        told = f"{self.size} {self.changed} {self.name}".encode("utf-8", "surrogatepass")
        return base64.b64encode(hashlib.blake2b(told, digest_size=9).digest()).decode()


class Digests:
    """Digests by file, those of an earlier attempt included."""

    def __init__(self) -> None:
        state = job.restored
        self._known: dict[str, str] = {}
        if isinstance(state, dict):
            self._known = {key: one for key, one in state.items() if isinstance(one, str)}
        self._order: list[tuple[int, str]] = []
        self._stored_at = time.monotonic()

    def find(self, file: Measured) -> bytes | None:
        """Return the SHA-256 of a file that was done; None if it was not, or has changed since."""
        if (text := self._known.get(file.key)) is None:
            return None
        try:
            digest = base64.b64decode(text, validate=True)
        except ValueError:
            return None
        return digest if len(digest) == hashlib.sha256().digest_size else None

    def add(self, file: Measured, digest: bytes) -> None:
        """Note the SHA-256 of a file, and store a checkpoint if it is time."""
        self._known[file.key] = base64.b64encode(digest).decode()
        self.keep(file)
        if time.monotonic() >= self._stored_at + INTERVAL:
            self._stored_at = time.monotonic()
            job.checkpoint(self._known)

    def keep(self, file: Measured) -> None:
        """Count a file whose digest is known; beyond ``MOST``, the smallest one is forgotten."""
        heapq.heappush(self._order, (file.size, file.key))
        if len(self._order) > MOST:
            self._known.pop(heapq.heappop(self._order)[1], None)
