"""``AskedSnapshot``: a question to the archive about one job, which nothing waits for."""

from __future__ import annotations

import json
from functools import cached_property

from bridge.errors import ResultsUnavailable
from bridge.protocol.event import TERMINAL
from bridge.protocol.json_types import SnapshotData
from bridge.results.call_thread import Call
from socket_server.archive.finding.wanted import AWAY, ArchiveUnavailable

__all__ = ["AskedSnapshot"]


class AskedSnapshot:
    """The question, and its answer.

    Args:
        call: call on the archive's thread that returns the JSON of the snapshot, or None for an
            unknown job; None while the thread is stuck, or has too much to do.
    """

    def __init__(self, call: Call | None) -> None:
        self._call = call

    @property
    def is_of_ended_job(self) -> bool:
        """Whether the archive has answered, with a job that has ended."""
        if self._call is None or not self._call.done:
            return False
        try:
            found = self._answer
        except ArchiveUnavailable:
            return False
        return found is not None and found["state"] in TERMINAL

    def snapshot(self) -> SnapshotData | None:
        """Return the job's snapshot; None if the archive has no such job.

        Raises:
            ArchiveUnavailable: the archive has not answered; the question is withdrawn.
        """
        if self._call is None:
            raise ArchiveUnavailable(AWAY)
        self.withdraw()
        return self._answer

    def withdraw(self) -> None:
        """Do not ask, unless the question is being answered: nothing waits for the answer."""
        if self._call is not None and not self._call.done:
            self._call.abandon()

    @cached_property
    def _answer(self) -> SnapshotData | None:
        assert self._call is not None, "it is asked for with a call"
        try:
            text = self._call.wait(0.0)
        except ResultsUnavailable as error:
            raise ArchiveUnavailable(AWAY) from error
        found: SnapshotData | None = None if text is None else json.loads(str(text))
        return found
