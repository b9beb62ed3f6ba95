"""``SnapshotTexts``: JSON of snapshots, cached while they do not change."""

from __future__ import annotations

from bridge.protocol.snapshot import Snapshot
from socket_server.messages.answer import Encoded
from socket_server.messages.strict_json import encode

__all__ = ["MAX_SNAPSHOT", "SnapshotTexts"]

#: Maximum bytes of JSON of a snapshot.
MAX_SNAPSHOT = 28 * 1024
#: Maximum bytes of snapshots that are cached as JSON.
MAX_TEXTS = 2 * 1024 * 1024


class SnapshotTexts:
    """JSON of the snapshots of jobs: after a restart of a server many clients request the same."""

    def __init__(self) -> None:
        #: JSON of unchanged snapshots by job, in the order in which they were encoded.
        self._texts: dict[str, Encoded] = {}
        #: Characters of all that is cached.
        self.size = 0

    def __len__(self) -> int:
        return len(self._texts)

    def of(self, snapshot: Snapshot) -> Encoded:
        """Return a snapshot as JSON of at most ``MAX_SNAPSHOT`` bytes."""
        job = snapshot.job
        if (text := self._texts.get(job)) is not None:
            return text
        text = self._texts[job] = Encoded(encode(snapshot.encode(MAX_SNAPSHOT)))
        self.size += len(text)
        while self.size > MAX_TEXTS:
            self.drop(next(iter(self._texts)))
        return text

    def drop(self, job: str) -> None:
        """Drop the JSON of a job whose snapshot changes or is forgotten."""
        self.size -= len(self._texts.pop(job, ""))
