"""Tasks whose begun and finished runs are counted, whatever happens to their processes."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import shared_task

from bridge import job

__all__ = ["Counted", "counted"]


@shared_task(name="support.counted")
def counted(folder: str, seconds: float) -> str:
    """Note the beginning and the end of the run in files of a folder; take at least ``seconds``.

    It goes on until there is a file ``go``, too.
    """
    place, mark = Path(folder), f"{os.getpid()}-{time.monotonic_ns()}"
    (place / f"begun-{mark}").touch()
    job.set_meta(pid=os.getpid())
    end = time.monotonic() + seconds
    while time.monotonic() < end or not (place / "go").exists():
        job.set_meta(now=time.monotonic())
        time.sleep(0.05)
    (place / f"over-{mark}").touch()
    return "done"


class Counted:
    """What the files say.

    Args:
        folder: that the task was given.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def begun(self) -> int:
        """Number of runs that have begun."""
        return len(list(self._folder.glob("begun-*")))

    @property
    def over(self) -> int:
        """Number of runs that have come to their end."""
        return len(list(self._folder.glob("over-*")))

    def go(self) -> None:
        """Let the task come to its end."""
        (self._folder / "go").touch()
