"""What went wrong in a job that goes on: the first of it is logged, all of it is counted."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from bridge import job

__all__ = ["Complaints"]


class Complaints:
    """Logs the first warnings of a kind, and at the end how many more there were.

    Args:
        limit: how many are logged; a file with a million bad rows needs no million lines.
    """

    def __init__(self, limit: int = 100) -> None:
        self.limit = limit
        self.count = 0

    def add(self, message: str) -> None:
        """Count a complaint, and log it as a warning while there are few.

        Raises:
            JobCancelled: somebody cancelled the job.
        """
        self.count += 1
        if self.count <= self.limit:
            job.log(message, level="WARNING")
        else:
            # A file of nothing but bad rows moves no bar that would notice.
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
