"""Lookup of the job that a client requests, if the client's token names that job."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from bridge.client.bridge import Bridge
from bridge.client.status import from_result, stored_progress
from bridge.errors import JobNotFound, ResultsUnavailable
from bridge.protocol.event import TERMINAL, Event
from bridge.protocol.json_types import BarData, SnapshotData
from bridge.protocol.size_budget import shorter
from bridge.protocol.snapshot import Snapshot
from bridge.results.stored_result import can_read
from bridge.tokens import Grant
from socket_server.archive.finding.wanted import AWAY, Archive, ArchiveUnavailable, Asked
from socket_server.concurrency.state_lock import StateLock
from socket_server.journal.journal import Journal
from socket_server.journal.snapshot_texts import MAX_SNAPSHOT

__all__ = ["FoundJob", "HeldJob", "JobLookup", "StoredJob"]

#: Seconds to wait for the first event of a job, which may have been enqueued a moment ago.
FIRST_EVENT = 2.0
#: Seconds to wait until the server has read as far as a client's cursor: on a busy machine it may
#: be seconds behind the server that the client comes from. With ``FIRST_EVENT`` it is less than the
#: 15 seconds for which clients wait for an answer.
CATCH_UP = 10.0
#: Seconds between two checks: at most, and at first.
INTERVAL, SHORTEST = 0.05, 0.002
#: Why a server may not know a job whose id it is asked for by a token that a service signed.
WHY = "; if it was enqueued, it ended long ago, or its service uses another broker than this server"


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A requested job that the journal holds, so that its events can be sent."""

    #: The journal's own snapshot, which later events change.
    current: Snapshot

    @property
    def state(self) -> str:
        """State of the job."""
        return self.current.state

    @property
    def owner(self) -> str | None:
        """Owner of the job; None without one."""
        return self.current.owner

    def encode(self) -> SnapshotData:
        """Return the job's snapshot, as short as an answer needs it."""
        return self.current.encode(MAX_SNAPSHOT)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A requested job that the journal does not hold, as archive or result backend have it."""

    #: Snapshot without events.
    snapshot: SnapshotData

    @property
    def state(self) -> str:
        """State of the job."""
        return self.snapshot["state"]

    @property
    def owner(self) -> str | None:
        """Owner of the job; None without one, and where only the result backend knows it."""
        return self.snapshot["owner"]

    def encode(self) -> SnapshotData:
        """Return the job's snapshot, as short as an answer needs it."""
        return shorter(self.snapshot)

    def event(self, now: float) -> Event:
        """Return an event by which a server begins to hold the job.

        It comes before all events of the job's tasks, and its number says that some are missing.

        Args:
            now: seconds since the epoch.
        """
        job, name = self.snapshot["job"], self.snapshot["name"]
        first = Event(
            job=job, task=job, name=name, owner=self.owner, type="queued", run=0, seq=1, at=now
        )
        if self.state == "queued":
            return first
        if self.state == "retrying":
            return replace(first, type="retrying")
        return replace(first, type="progress", data={"bars": self.snapshot["bars"]})


FoundJob = HeldJob | StoredJob


class JobLookup:
    """Finds jobs in the journal, or else in the archive or the result backend.

    Args:
        bridge: gives access to the result backend.
        journal: the jobs that the server holds.
        sleep: waits some seconds while other clients are served.
        state_lock: the state lock, released while the result backend is read.
        whole: returns whether the server has read all events that were ever published.
        tell: called with each event that the server creates; see :meth:`.Dispatcher.tell`.
        archive: the archive; default None, without one.
    """

    def __init__(
        self,
        bridge: Bridge,
        journal: Journal,
        sleep: Callable[[float], None],
        state_lock: StateLock,
        whole: Callable[[], bool],
        tell: Callable[[Event], None],
        archive: Archive | None = None,
    ) -> None:
        self._archive = archive
        self._bridge, self._state_lock, self._whole = bridge, state_lock, whole
        self._journal, self._tell = journal, tell
        self._sleep = sleep

    def await_cursor(self, cursor: str) -> bool:
        """Wait up to ``CATCH_UP`` seconds until this server has read as far as a cursor.

        The client may have the cursor from a server that has read more of the stream. The wait
        depends on the cursor alone, so that it does not reveal whether there is a job.

        Returns:
            Whether it has.
        """
        deadline = time.monotonic() + CATCH_UP
        while behind := self._journal.is_behind(cursor):
            if time.monotonic() >= deadline:
                break
            self._sleep(INTERVAL)
        return not behind

    def find(self, job: str, grant: Grant) -> FoundJob:
        """Return a job that the token names: of the journal, the archive or the result backend.

        Raises:
            JobNotFound: there is no such job, or the token does not name it.
            ResultsUnavailable: the journal does not hold the job, and the archive does not answer,
                or the result backend, which is asked only about a job whose id the token names.
        """
        if self._holds(job, grant):
            return HeldJob(self._journal.of(job))
        # Another owner's job is waited for like one that does not exist, so that neither the answer
        # nor its time reveals which of the two it is. The archive is asked meanwhile.
        asked = None if self._archive is None else self._archive.ask(job, grant)
        if self._await_first_event(job, grant, asked):
            if asked is not None:
                asked.withdraw()
            return HeldJob(self._journal.of(job))
        archived, away = _answer(asked)
        stored = self._stored(job, grant, archived)
        if stored is not None:
            return StoredJob(stored)
        if away:
            raise ResultsUnavailable(AWAY)
        if job in grant.jobs and (stored := self._waiting(job)):
            return StoredJob(stored)
        # The reason depends on the token alone, so it does not reveal that there is such a job.
        raise JobNotFound(f"no job {job} that this token names{WHY if job in grant.jobs else ''}")

    def _await_first_event(self, job: str, grant: Grant, asked: Asked | None) -> bool:
        """Wait until the journal holds a job, or the archive has it as one that has ended.

        Returns:
            Whether the journal holds it.
        """
        deadline, pause = time.monotonic() + FIRST_EVENT, SHORTEST
        while not (held := self._holds(job, grant)) and time.monotonic() < deadline:
            if asked is not None and asked.is_of_ended_job:
                break
            self._sleep(pause)
            pause = min(2 * pause, INTERVAL)
        return held

    def _stored(self, job: str, grant: Grant, archived: SnapshotData | None) -> SnapshotData | None:
        """Return what the archive has of a job, or else the result backend.

        Of a job that has not ended in the archive, the end that the result backend has counts.
        """
        if job not in grant.jobs or (archived and archived["state"] in TERMINAL):
            return archived
        try:
            result = self._from_result(job)
        except ResultsUnavailable:
            if archived is None:
                raise
            return archived
        ended = result is not None and result["state"] in TERMINAL
        return result if ended else archived or result

    def hold(self, found: StoredJob) -> None:
        """Hold an unfinished job that only archive or result backend know, as one that is silent.

        Its worker may be dead, or report nothing: like any silent job it is looked up again, and
        its worker is asked.
        """
        if found.snapshot["job"] not in self._journal:
            self._tell(found.event(time.time()))

    def holds(self, job: object) -> bool:
        """Whether the journal holds a job."""
        return job in self._journal

    def is_unfinished(self, job: str) -> bool:
        """Whether a job waits or runs, as the journal says or else the result backend.

        Raises:
            ResultsUnavailable: the journal does not hold the job, and the result backend does not
                answer.
        """
        if job in self._journal:
            return not self._journal.of(job).ended
        stored = self._from_result(job) or self._waiting(job)
        return stored is not None and stored["state"] not in TERMINAL

    def stored_progress(self, job: str) -> BarData | None:
        """Return the progress of a job that was found, as its task has stored it; None without it.

        For a task that sends no bars: its worker does not report, or captures none. It is None,
        too, if the result backend does not answer.
        """
        try:
            return self._state_lock.outside(stored_progress, self._bridge.app, job)
        except ResultsUnavailable:
            return None

    def _waiting(self, job: str) -> SnapshotData | None:
        """Return an empty, incomplete snapshot of a job without a result.

        None if the server holds every unfinished job, so that this one does not exist, or if the
        result backend cannot be read.
        """
        knows_all = self._whole() and self._journal.whole
        if knows_all or not can_read(self._bridge.app.backend):
            return None
        return {**Snapshot(job).encode(), "incomplete": True, "source": "result"}

    def _holds(self, job: str, grant: Grant) -> bool:
        return job in self._journal and grant.names(job, self._journal.owner(job))

    def _from_result(self, job: str) -> SnapshotData | None:
        return self._state_lock.outside(from_result, self._bridge.app, job)


def _answer(asked: Asked | None) -> tuple[SnapshotData | None, bool]:
    """Return what the archive has answered, and whether it has not."""
    try:
        return (None if asked is None else asked.snapshot()), False
    except ArchiveUnavailable:
        return None, True
