"""``Bulk``: runs again, or cancels, all jobs that a filter finds, and refuses some with reasons."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bridge.client.bridge import Bridge
from bridge.client.sending import published
from bridge.errors import TaskbridgeError
from bridge.protocol.event import TERMINAL
from bridge.protocol.json_types import JSONObject, SnapshotData
from bridge.repeating.reservation import key_of
from bridge.tokens import Grant
from socket_server.concurrency.state_lock import StateLock
from socket_server.messages.requests import Refused, refusal_of
from socket_server.watching.job_search import JobSearch
from socket_server.watching.repeating.bulk_request import BulkRequest
from socket_server.watching.repeating.reruns import Reruns

__all__ = ["Bulk"]

#: Jobs that are found at a time; between two times, the client's grant is checked again.
AT_ONCE = 20
#: Seconds after which no other job is begun with: clients wait 10 seconds or longer for an answer.
BUDGET = 7.0
LATE = Refused("unavailable", "there was no time left for it: ask again with the same key")


@dataclass(slots=True)
class Done:
    """What has become of the jobs that a filter found."""

    count: int = 0
    jobs: list[JSONObject] = field(default_factory=list)
    refused: list[JSONObject] = field(default_factory=list)
    #: Position of the jobs that are left; None if there are none.
    next: str | None = None
    archive_away: bool = False
    #: Bytes that the request is charged for what was examined.
    cost: int = 0

    def encode(self) -> JSONObject:
        """Return the fields of the answer; those that say nothing are left out."""
        told = {"count": self.count, "jobs": self.jobs, "refused": self.refused}
        more = {"next": self.next, "archive_away": self.archive_away or None}
        return {**told, **{name: one for name, one in more.items() if one is not None}}


class Bulk:
    """Acts on the jobs that a filter finds.

    Args:
        bridge: cancels jobs.
        search: finds jobs.
        reruns: runs jobs again.
        state_lock: the state lock, released while the broker is waited for.
        clock: monotonic clock, in seconds.
    """

    def __init__(
        self,
        bridge: Bridge,
        search: JobSearch,
        reruns: Reruns,
        state_lock: StateLock,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bridge, self._search, self._reruns = bridge, search, reruns
        self._state_lock, self._clock = state_lock, clock

    def act(self, asked: BulkRequest, grant: Callable[[], Grant]) -> Done:
        """Act on the jobs, in the order of lists, until enough are found or the time is over.

        Args:
            asked: the action, and which jobs.
            grant: returns the client's grant; raises if it does not allow the action any more.

        Raises:
            Refused: a field is wrong, or there is no archive to run jobs again from.
        """
        done, until = Done(next=asked.next), self._clock() + BUDGET
        while done.count < asked.limit:
            fields = {"limit": min(AT_ONCE, asked.limit - done.count), "next": done.next}
            page = self._search.page(asked.wanted, fields)
            done.cost += page.cost
            done.archive_away |= page.archive_away
            jobs: list[SnapshotData] = [json.loads(text) for text in page.jobs]
            self._act_on(jobs, asked, grant(), until, done)
            done.next = page.next
            if page.next is None or self._clock() >= until:
                break
        return done

    def _act_on(
        self,
        jobs: list[SnapshotData],
        asked: BulkRequest,
        grant: Grant,
        until: float,
        done: Done,
    ) -> None:
        again = asked.action == "run_again"
        # The grant may name fewer jobs than when they were searched for.
        jobs = [one for one in jobs if grant.names(one["job"], one["owner"])]
        wanted = [one for one in jobs if (one["state"] in TERMINAL) == again]
        if again:
            wanted = [one for one in wanted if not self._was_made_by(asked.key, one)]
        done.count += len(wanted)
        each = self._each_again(wanted, asked, grant) if again else self._each_cancel(wanted, asked)
        for job, act in each:
            try:
                if self._clock() >= until:
                    raise LATE
                done.jobs.append(act())
            except (Refused, TaskbridgeError) as error:
                done.refused.append({"job": job, **refusal_of(error)})

    def _was_made_by(self, asking: str, job: SnapshotData) -> bool:
        """Whether a job repeats another one for this same asking, which is not to repeat it."""
        if not asking or not (former := job.get("again_of")):
            return False
        key = key_of("run_again", job["owner"], asking, former)
        return self._state_lock.outside(published, self._bridge, key) == job["job"]

    def _each_again(
        self, jobs: list[SnapshotData], asked: BulkRequest, grant: Grant
    ) -> Iterable[tuple[str, Callable[[], JSONObject]]]:
        found = self._reruns.find([one["job"] for one in jobs], grant) if jobs else {}
        for one in jobs:
            job = one["job"]

            def act(job: str = job) -> JSONObject:
                if (former := found.get(job)) is None:
                    raise self._reruns.absent(job)
                self._reruns.check(former)
                if asked.preview:
                    return {"job": job}
                return {"job": self._reruns.run(former, grant, asked.key), "again_of": job}

            yield job, act

    def _each_cancel(
        self, jobs: list[SnapshotData], asked: BulkRequest
    ) -> Iterable[tuple[str, Callable[[], JSONObject]]]:
        for one in jobs:

            def act(one: SnapshotData = one) -> JSONObject:
                if not asked.preview:
                    request, owner = self._bridge.request_cancel, one["owner"]
                    self._state_lock.outside(request, one["job"], owner)
                return {"job": one["job"], "state": one["state"]}

            yield one["job"], act
