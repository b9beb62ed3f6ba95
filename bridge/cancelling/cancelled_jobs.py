"""The jobs that were cancelled, in memory that all processes of a worker share.

Remote control reaches a worker's parent. Its pool's processes see what the parent writes here,
those that are forked later as well, and need no folder, signal or connection for it. In pools
without processes it is memory like any other.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from celery.utils.collections import LimitedSet

__all__ = ["CancelledJobs", "adopt", "knows", "remember", "share", "watch"]

logger = logging.getLogger(__name__)

#: Jobs that are held; the oldest makes room for the next. A running task looks ten times a second.
SLOTS = 4096
#: Bytes of a job's digest.
DIGEST = 16
#: How many were written so far, at the beginning.
COUNT = struct.Struct("=Q")
SIZE = COUNT.size + SLOTS * DIGEST
#: Seconds for which a worker's parent refuses tasks of a cancelled job, and jobs that it knows as
#: such: more than a job is expected to wait in a queue.
MEMORY, MAX_KNOWN = 86_400.0, 100_000
#: Variable by which a process that is not forked finds the memory of its parent.
VARIABLE = "_TASKBRIDGE_CANCELLED"


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


#: Cancelled jobs that this worker knows: in its parent process, and in memory that the parent
#: shares with its children, which is None outside workers.
_known = LimitedSet(maxlen=MAX_KNOWN, expires=MEMORY)
_shared: CancelledJobs | None = None


def remember(job: str) -> None:
    """Refuse tasks of a job from now on, and let those that run know; for a worker's parent."""
    _known.add(job)
    if _shared is not None:
        _shared.add(job)


def knows(job: str) -> bool:
    """Whether this worker's parent process knows that a job was cancelled."""
    return job in _known


def watch(job: str) -> Callable[[], bool] | None:
    """Return what tells whether this worker knows that a job was cancelled; None outside workers.

    It waits for nothing.
    """
    if (shared := _shared) is None:
        return None
    looked = -1

    def is_cancelled() -> bool:
        nonlocal looked
        if (count := shared.count) == looked:
            return False
        looked = count
        return job in shared

    return is_cancelled


def share(worker: Any) -> None:
    """Make the memory that the processes of a worker will share, before there are any."""
    global _shared
    # macOS and Windows have processes that are not forked unless told otherwise.
    fresh = worker.pool_start_method != "fork" or sys.platform in ("darwin", "win32")
    try:
        _shared = CancelledJobs(shared_by_file=fresh)
    except OSError as error:
        logger.warning("taskbridge: cancelled tasks are only terminated, after a grace: %s", error)
        _shared = CancelledJobs()
    if _shared.file is not None:
        os.environ[VARIABLE] = str(_shared.file)


def adopt(**_: Any) -> None:
    """Find the memory of the parent in a process that was not forked from it."""
    global _shared
    if _shared is None and (file := os.environ.get(VARIABLE)):
        with contextlib.suppress(OSError):
            _shared = CancelledJobs(Path(file))
