"""The jobs that were cancelled, in memory that all processes of a worker share.

Remote control reaches a worker's parent. Its pool's processes see what the parent writes here,
those that are forked later as well, and need no folder, signal or connection for it. In pools
without processes it is memory like any other.
"""

from __future__ import annotations

import mmap
import struct
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Any

__all__ = ["CancelledJobs"]

#: Jobs that are held; the oldest makes room for the next. A running task looks ten times a second.
SLOTS = 4096
#: Bytes of a job's digest.
DIGEST = 16
#: How many were written so far, at the beginning.
COUNT = struct.Struct("=Q")
SIZE = COUNT.size + SLOTS * DIGEST


class CancelledJobs:
    """Written by one process, and read by all those that are forked from it afterwards.

    Args:
        file: of :attr:`file` of another one, to read what that one writes.
        shared_by_file: whether processes that are not forked shall be able to read it.

    Raises:
        OSError: the file cannot be made, or read.
    """

    def __init__(self, file: Path | None = None, *, shared_by_file: bool = False) -> None:
        self._made: Any = None
        #: By which processes that are not forked find it; None without one.
        self.file = file
        if shared_by_file:
            self._made = tempfile.NamedTemporaryFile(prefix="taskbridge-cancelled-")  # noqa: SIM115
            self._made.truncate(SIZE)
            self.file = Path(self._made.name)
        if self.file is None:
            self._memory = mmap.mmap(-1, SIZE)
        else:
            with self.file.open("r+b") as opened:
                self._memory = mmap.mmap(opened.fileno(), SIZE)

    @property
    def count(self) -> int:
        """How many jobs were added so far; while it stays the same there is nothing to look for."""
        return int(COUNT.unpack_from(self._memory)[0])

    def add(self, job: str) -> None:
        """Add a job; called by one process alone."""
        count = self.count
        begin = COUNT.size + count % SLOTS * DIGEST
        self._memory[begin : begin + DIGEST] = _digest(job)
        COUNT.pack_into(self._memory, 0, count + 1)

    def __contains__(self, job: str) -> bool:
        return self._memory.find(_digest(job), COUNT.size) >= 0


def _digest(job: str) -> bytes:
    return blake2b(job.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()
