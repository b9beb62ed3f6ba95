"""``Reruns``: runs archived jobs again, as far as a grant and ``TASKBRIDGE_TASKS`` allow it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

from bridge.client.bridge import Bridge
from bridge.client.sending import published, send_again
from bridge.protocol.event import TERMINAL
from bridge.protocol.json_types import JSONObject, SnapshotData
from bridge.repeating.kept_call import REASONS, KeptCall, is_redacted
from bridge.repeating.reservation import key_of
from bridge.tokens import Grant
from socket_server.archive.finding.wanted import Archive, ArchiveUnavailable
from socket_server.concurrency.pace import Pace
from socket_server.concurrency.state_lock import StateLock
from socket_server.journal.journal import Journal
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.requests import Refused
from socket_server.watching.fresh_jobs import FreshJobs

__all__ = ["Former", "Reruns"]

#: Seconds to wait for another server that publishes the same job.
PATIENCE = 2.0
#: Seconds for which a job that the archive does not have may be one that it has not written yet.
FRESH = 60.0
#: Seconds that such a job is waited for, and between two questions.
WRITING, AGAIN = 5.0, 0.25

NO_ARCHIVE = "there is no archive, which keeps the arguments of jobs: run `taskbridge archive`"
NO_CALL = "its arguments were not kept"
NOT_YET = "the archive has not written the job yet: try again in a moment"
AWAY = "the archive does not answer: try again"


@dataclass(frozen=True, slots=True)
class Former:
    """A job that is to be run again."""

    job: str
    owner: str | None
    title: str | None
    state: str
    #: Tasks that it had, and when its newest checkpoint was stored; None without one.
    total: int
    saved: float | None
    #: Its call, or why there is none; None if nothing was kept.
    call: JSONObject | None


class Reruns:
    """Runs jobs again.

    Args:
        bridge: publishes jobs.
        journal: the jobs that the server holds.
        archive: the archive; None without one.
        limits: rate limits and quotas of owners.
        fresh: the jobs that were published a moment ago.
        state_lock: the state lock, released while the archive is asked and a job is published.
        pace: lets other clients be served while the archive is waited for.
    """

    def __init__(
        self,
        bridge: Bridge,
        journal: Journal,
        archive: Archive | None,
        limits: RateLimits,
        fresh: FreshJobs,
        state_lock: StateLock,
        pace: Pace,
    ) -> None:
        self._bridge, self._journal, self._archive = bridge, journal, archive
        self._limits, self._fresh, self._state_lock = limits, fresh, state_lock
        self._pace = pace

    def find(self, jobs: Iterable[str], grant: Grant) -> dict[str, Former]:
        """Return those of some jobs that the archive has; the journal's newer state of them.

        Args:
            jobs: ids of the jobs.
            grant: of the client; jobs that it does not name are left out.

        Raises:
            Refused: there is no archive, or it does not answer.
        """
        if self._archive is None:
            raise Refused("not_kept", NO_ARCHIVE)
        try:
            found = self._state_lock.outside(self._archive.calls, list(jobs), grant)
        except ArchiveUnavailable:
            raise Refused("unavailable", AWAY) from None
        return {job: self._former(job, *one) for job, one in found.items()}

    def _former(self, job: str, snapshot: str, call: str | None) -> Former:
        told: SnapshotData = json.loads(snapshot)
        state = self._journal.of(job).state if job in self._journal else told["state"]
        kept = None if call is None else json.loads(call)
        saved = told.get("saved")
        return Former(job, told["owner"], told.get("title"), state, told["total"], saved, kept)

    def await_written(self, job: str, grant: Grant) -> Former:
        """Return a job that the archive does not have yet, once it has written it.

        Raises:
            Refused: the job is not a new one, or is not written within ``WRITING`` s.
        """
        end = time.monotonic() + WRITING
        while True:
            refusal = self.absent(job)
            if refusal.code != "unavailable" or time.monotonic() >= end:
                raise refusal
            self._state_lock.outside(self._pace.rest, AGAIN)
            if (former := self.find([job], grant).get(job)) is not None:
                return former

    def absent(self, job: str) -> Refused:
        """Return the refusal of a job that the archive does not have."""
        snapshot = self._journal.of(job) if job in self._journal else None
        if snapshot is not None and snapshot.at > time.time() - FRESH:
            return Refused("unavailable", NOT_YET)
        return Refused("not_kept", NO_CALL)

    def check(self, former: Former) -> None:
        """Check that a job may be run again.

        Raises:
            Refused: it has not ended, its arguments are not kept, or a task of it is not allowed.
        """
        if former.state not in TERMINAL:
            raise Refused(
                "not_ended", f"the job is {former.state}: it can be run again once it ends"
            )
        names = _names(former.call)
        settings = self._bridge.settings
        if any(is_redacted(name, settings) for name in names):
            raise Refused("not_kept", REASONS["redacted"])
        for name in names:
            if not any(fnmatchcase(name, pattern) for pattern in settings.tasks):
                told = f"{name} may not be enqueued by clients: see TASKBRIDGE_TASKS"
                raise Refused("task_not_allowed", told)

    def check_resumable(self, former: Former) -> None:
        """Check that a job can go on from its checkpoint.

        Raises:
            Refused: it has several tasks, or no checkpoint that is still kept.
        """
        if former.total != 1:
            raise Refused("not_kept", "only a job of a single task can go on where it stopped")
        kept_for = self._bridge.settings.checkpoint_retention
        if former.saved is None or former.saved + kept_for < time.time():
            raise Refused(
                "not_kept", "it has no checkpoint, or none any more: run it from the start"
            )

    def run(self, former: Former, grant: Grant, asking: str, *, resume: bool = False) -> str:
        """Publish a job again, unless that was done for the same asking; return its id.

        Args:
            former: the job, which ``check`` has passed.
            grant: grant of the client, whose owner's limits count; an operator has none.
            asking: key of the asking.
            resume: whether it goes on from its checkpoint; default from the start.

        Raises:
            Refused: a limit is reached.
            TaskbridgeError: the broker or the store of the keys does not answer.
        """
        key = key_of("run_again", former.owner, asking, former.job)
        outside = self._state_lock.outside
        if (job := outside(published, self._bridge, key)) is not None:
            return job
        owner = former.owner or ""
        if not grant.allows("operate"):
            unfinished = self._journal.unfinished(owner) + self._fresh.count(owner)
            self._limits.enqueue(owner, unfinished)
        # Other requests count this job while it is published.
        with self._fresh.publishing(owner):
            new = outside(
                send_again,
                self._bridge,
                cast("KeptCall", former.call),
                key,
                again_of=former.job,
                owner=former.owner,
                title=former.title,
                resume=resume,
                known=self._journal.__contains__,
                patience=PATIENCE,
            )
            self._fresh.add(new.id, owner)
        return new.id


def _names(call: JSONObject | None) -> set[str]:
    """Return the names of the tasks of a call.

    Raises:
        Refused: there is no call.
    """
    from bridge.instrumentation.canvas import names

    call = call or {}
    whole = isinstance(call.get("args"), list) and isinstance(call.get("kwargs"), dict)
    name, signature = call.get("name"), call.get("signature")
    if whole and isinstance(name, str):
        return {name}
    if whole and isinstance(signature, dict) and isinstance(signature.get("task"), str):
        return names(signature)
    raise Refused("not_kept", REASONS.get(call.get("omitted", ""), NO_CALL))
