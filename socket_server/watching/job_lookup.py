"""Finding the job that a client names, if its token names it too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bridge.client.bridge import Bridge
from bridge.client.status import from_result
from bridge.errors import JobNotFound
from bridge.protocol.snapshot import Snapshot
from bridge.results.stored_result import can_read
from bridge.tokens import Grant
from socket_server.concurrency.state_lock import Turn
from socket_server.journal.journal import Journal

__all__ = ["Lookup"]

#: Seconds to wait for the first event of a job that was enqueued a moment ago.
FIRST_EVENT = 2.0
#: Seconds between two looks.
INTERVAL = 0.05


class Lookup:
    """Knows which jobs there are and who may see them.

    Args:
        bridge: through which the result backend is asked.
        journal: what the server holds.
        sleep: lets other clients go on for so many seconds.
        turn: which others have while the result backend is asked.
        whole: whether the server has read all that was ever published.
    """

    def __init__(
        self,
        bridge: Bridge,
        journal: Journal,
        sleep: Callable[[float], None],
        turn: Turn,
        whole: Callable[[], bool],
    ) -> None:
        self._bridge, self._turn, self._whole = bridge, turn, whole
        self._journal = journal
        self._sleep = sleep

    def await_cursor(self, job: str, cursor: str | None) -> None:
        """Give this server a moment to read what the client has already seen elsewhere."""
        deadline = time.monotonic() + FIRST_EVENT
        while cursor and self._journal.is_behind(job, cursor) and time.monotonic() < deadline:
            self._sleep(INTERVAL)

    def find(self, job: str, grant: Grant) -> dict[str, Any] | None:
        """Return the snapshot of a job that only the result backend knows; None if it is held.

        Raises:
            JobNotFound: there is no such job, or the token does not name it.
            ResultsUnavailable: this server does not hold it, and the result backend, which might
                know it, does not answer. The token names it.
        """
        # A job of somebody else is waited for just as one that does not exist: neither the answer
        # nor its time tells which.
        deadline = time.monotonic() + FIRST_EVENT
        while not (held := self._holds(job, grant)) and time.monotonic() < deadline:
            self._sleep(INTERVAL)
        if held:
            return None
        if job in grant.jobs and (found := self._from_result(job) or self._waiting(job)):
            return found
        raise JobNotFound(f"no job {job} that this token names")

    def _waiting(self, job: str) -> dict[str, Any] | None:
        """Return the snapshot of a job that has no result yet, and that this server may have
        forgotten while it waits; None if the server would know of it."""
        knows_all = self._whole() and self._journal.whole
        if knows_all or not can_read(self._bridge.app.backend):
            return None
        return {**Snapshot(job).encode(), "incomplete": True, "source": "result"}

    def _holds(self, job: str, grant: Grant) -> bool:
        return job in self._journal and grant.names(job, self._journal.owner(job))

    def _from_result(self, job: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._turn.outside(from_result, self._bridge.app, job)
        return found
