"""Warnings of a job that goes on: the first ones are logged, all are counted."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from bridge import job

__all__ = ["Complaints"]


class Complaints:
    """Logs the first warnings of a kind, and at the end how many more there were.

    Args:
        limit: most warnings that are logged, by default 100: a file with a million bad rows needs
            no million lines.
    """

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.count = 0

    def add(self, message: str) -> None:
        """Count a warning, and log it unless the limit is reached.

        Raises:
            JobCancelled: the job was cancelled.
        """
        self.count += 1
        if self.count <= self.limit:
            job.log(message, level="WARNING")
        else:
            # A file of bad rows alone moves no bar, whose update would raise this.
            job.raise_if_cancelled()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        more = self.count - self.limit
        if error is None and more > 0:
            job.log(f"... and {more} more like these", level="WARNING")
