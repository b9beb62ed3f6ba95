"""``CancelledJobs``: the cancelled jobs, in memory that all processes of a worker share.

Remote control reaches only the worker's parent, which writes here. Pool processes, those that are
forked later as well, read it without a signal or a connection; processes that are not forked map it
from a temporary file. Pools without processes use it like any other memory.
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
from typing import IO

from celery.utils.collections import LimitedSet

from bridge.untyped import CeleryWorker

__all__ = ["CancelledJobs", "adopt", "knows", "remember", "share", "watch"]

logger = logging.getLogger(__name__)

#: Jobs that are held; a new job replaces the oldest. Running tasks look about ten times a second.
SLOTS = 4096
#: Bytes of a job's digest.
DIGEST = 16
#: Header of the memory: number of jobs written so far.
COUNT = struct.Struct("=Q")
SIZE = COUNT.size + SLOTS * DIGEST
#: Seconds for which a worker's parent refuses tasks of a cancelled job, longer than a job is
#: expected to wait in a queue; and number of cancelled jobs that it remembers.
MEMORY, MAX_KNOWN = 86_400.0, 100_000
#: Environment variable with the path of the parent's file, for processes that are not forked.
VARIABLE = "_TASKBRIDGE_CANCELLED"


class CancelledJobs:
    """A set of jobs that one process writes, and processes forked from it afterwards read.

    Args:
        file: :attr:`file` of another instance, to read what that one writes; default None, for
            memory of its own.
        shared_by_file: whether to create a file, so that processes that are not forked can read
            it; default False.

    Raises:
        OSError: the file cannot be created or opened.
    """

    def __init__(self, file: Path | None = None, *, shared_by_file: bool = False) -> None:
        self._made: IO[bytes] | None = None
        #: Path of the mapped file; None for anonymous memory.
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
        """Number of jobs added so far; while it is unchanged, no job needs to be looked up."""
        return int(COUNT.unpack_from(self._memory)[0])

    def add(self, job: str) -> None:
        """Add a job; only one process may do so."""
        count = self.count
        begin = COUNT.size + count % SLOTS * DIGEST
        self._memory[begin : begin + DIGEST] = _digest(job)
        COUNT.pack_into(self._memory, 0, count + 1)

    def __contains__(self, job: str) -> bool:
        return self._memory.find(_digest(job), COUNT.size) >= 0


def _digest(job: str) -> bytes:
    return blake2b(job.encode("utf-8", "surrogatepass"), digest_size=DIGEST).digest()


#: Cancelled jobs that this worker knows: in its parent process, and in the memory that the parent
#: shares with its pool processes, which is None outside workers.
_known = LimitedSet(maxlen=MAX_KNOWN, expires=MEMORY)
_shared: CancelledJobs | None = None


def remember(job: str) -> None:
    """Record a cancelled job, for waiting and running tasks; called in a worker's parent."""
    _known.add(job)
    if _shared is not None:
        _shared.add(job)


def knows(job: str) -> bool:
    """Whether this worker's parent process knows that a job was cancelled."""
    return job in _known


def watch(job: str) -> Callable[[], bool] | None:
    """Return a function that returns True once a job was cancelled; None outside workers.

    The function does not block, and returns False while no job was added since its last call.
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


def share(worker: CeleryWorker) -> None:
    """Create the memory of a worker, before its pool processes start."""
    global _shared
    # On macOS and Windows processes are not forked by default.
    fresh = worker.pool_start_method != "fork" or sys.platform in ("darwin", "win32")
    try:
        _shared = CancelledJobs(shared_by_file=fresh)
    except OSError as error:
        logger.warning("taskbridge: cancelled tasks are only terminated, after a grace: %s", error)
        _shared = CancelledJobs()
    if _shared.file is not None:
        os.environ[VARIABLE] = str(_shared.file)


def adopt(**_: object) -> None:
    """Map the parent's memory in a pool process that was not forked."""
    global _shared
    if _shared is None and (file := os.environ.get(VARIABLE)):
        with contextlib.suppress(OSError):
            _shared = CancelledJobs(Path(file))
