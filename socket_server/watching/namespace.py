"""The ``/jobs`` namespace: handlers of the requests of clients."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from math import isfinite
from wsgiref.types import WSGIEnvironment

import socketio
from socketio.exceptions import ConnectionRefusedError as Refusal

from bridge.client.bridge import ENDINGS, Bridge
from bridge.client.sending import published
from bridge.errors import JobNotFound, ResultsUnavailable, TokenError, WrongShard
from bridge.protocol.error_codes import error_object
from bridge.protocol.event import NAMESPACE, TERMINAL, Event
from bridge.protocol.json_types import JSONObject
from bridge.protocol.request_types import ErrorObject
from bridge.protocol.snapshot import Snapshot
from bridge.repeating.reservation import key_of
from bridge.tokens import Grant
from socket_server.archive.finding.tasks import JobTasks
from socket_server.archive.finding.wanted import Archive, ArchiveUnavailable
from socket_server.journal.journal import Journal
from socket_server.journal.page import MAX_PAGE
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.answer import Body
from socket_server.messages.excerpt import NO_EVENTS
from socket_server.messages.requests import Refused, answered, text
from socket_server.observability.logs import tell
from socket_server.watching.auth import Admission, Auth
from socket_server.watching.clients import Clients
from socket_server.watching.fresh_jobs import FreshJobs
from socket_server.watching.job_lookup import FoundJob, JobLookup, StoredJob
from socket_server.watching.job_search import JobSearch, answer_of
from socket_server.watching.renewals import Renewals
from socket_server.watching.repeating.bulk import Bulk
from socket_server.watching.repeating.bulk_request import SCOPES, BulkRequest, action_of
from socket_server.watching.repeating.reruns import Reruns
from socket_server.watching.search_request import wanted_of
from socket_server.watching.sessions import Sessions

__all__ = ["JobsNamespace"]

#: Seconds that a connecting client waits for the server to be ready, and between two checks.
PATIENCE, INTERVAL = 5.0, 0.05
NOT_READY = "the server does not listen to the broker yet, or still reads what it missed: try again"
#: Most job ids of a token in the log line of a connection.
SHOWN = 3
ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class JobsNamespace(socketio.Namespace):
    """Answers requests of clients, as far as their grants allow them.

    Args:
        bridge: enqueues and cancels jobs.
        journal: the jobs that the server holds.
        lookup: finds the jobs that clients name.
        search: finds jobs by other things than their ids.
        tasks: lists the tasks of a job.
        auth: authenticates clients.
        limits: rate limits and quotas of clients.
        ready: returns whether the server has read the events published before its start.
        archive: has the calls of jobs, to run them again; default None without one.
    """

    def __init__(
        self,
        bridge: Bridge,
        journal: Journal,
        lookup: JobLookup,
        search: JobSearch,
        tasks: JobTasks,
        auth: Auth,
        limits: RateLimits,
        ready: Callable[[], bool],
        archive: Archive | None = None,
    ) -> None:
        super().__init__(NAMESPACE)
        self._bridge, self._journal, self._lookup = bridge, journal, lookup
        self._search, self._tasks, self._pace = search, tasks, search.pace
        self._auth, self._limits, self._ready = auth, limits, ready
        ttl = bridge.settings.session_ttl
        #: The connected clients.
        self.clients = Clients(self, limits, ttl)
        #: Renews the grants that the ``TASKBRIDGE_AUTH`` function gave.
        self.sessions = Sessions(auth, self.clients, journal.owner, ttl)
        self._renewals = Renewals(auth, self.clients, lookup, journal.owner)
        self._fresh = FreshJobs(journal)
        known = journal, archive, limits, self._fresh
        self._reruns = Reruns(bridge, *known, search.state_lock, search.pace)
        self._bulk = Bulk(bridge, search, self._reruns, search.state_lock)

    def on_connect(self, sid: str, environ: WSGIEnvironment, auth: object = None) -> None:
        address = environ.get("REMOTE_ADDR")
        try:
            admission = self._auth.admit(environ, auth)
            self._await_ready()
            self._add(sid, admission, auth)
        except (TokenError, WrongShard, Refused) as error:
            told = _refusal(error)
            tell("refuse", request="connect", code=told["code"], address=address)
            raise Refusal(str(error), told) from None
        grant = admission.grant
        jobs = sorted(grant.jobs)[:SHOWN] or None
        tell("connect", sid=sid, owner=grant.owner, jobs=jobs, address=address)

    def _add(self, sid: str, admission: Admission, auth: object) -> None:
        # A client that disconnected meanwhile would stay for ever: on_disconnect has already run.
        if self.server.get_environ(sid, NAMESPACE) is None:
            raise Refused("unauthorized", "the connection has ended")
        session, renewal = self.sessions.of(admission, auth), self._renewals.of(admission, auth)
        self.clients.add(sid, admission.grant, session, renewal)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._ready():
            if time.monotonic() > deadline:
                raise Refused("unavailable", NOT_READY)
            self.server.sleep(INTERVAL)

    def on_disconnect(self, sid: str, reason: object = None, *_: object) -> None:
        if client := self.clients.get(sid):
            tell("disconnect", sid=sid, owner=client.grant.owner, reason=str(reason))
        self.clients.remove(sid)

    def refused(self, sid: str, request: str, code: str, job: object) -> None:
        """Log a request that was refused; see ``requests.answered``."""
        client = self.clients.get(sid)
        # A value that is no id is not logged: it may be a token in the wrong place.
        job = job if isinstance(job, str) and ID.fullmatch(job) else None
        owner = client.grant.owner if client else None
        tell("refuse", request=request, code=code, sid=sid, owner=owner, job=job)

    def expire(self) -> None:
        """Disconnect clients whose grant has expired; renew tokens; warn of other ends."""
        self._renewals.send(self.server)
        self.clients.expire(time.time())

    def renew(self) -> None:
        """Renew the grants of sessions that are due."""
        self.sessions.renew(self.server)

    def admit(self, sid: str) -> None:
        """Count a request against the rate limits.

        Raises:
            Refused: the client or its owner exceeds a rate limit.
        """
        client = self.clients.get(sid)
        self._limits.request(sid, client.grant.owner if client else None)

    def charge(self, sid: str, size: float) -> None:
        """Count the bytes of an answer against the rate limits; see ``RateLimits.charge``."""
        client = self.clients.get(sid)
        self._limits.charge(sid, client.grant.owner if client else None, size)

    def _grant(self, sid: str, scope: str) -> Grant:
        grant = self.clients.of(sid).grant
        if grant.expires <= time.time():
            raise Refused("unauthorized", "the token has expired: connect with a new one")
        if not grant.allows(scope):
            raise Refused("forbidden", f"the token's scope does not allow {scope}")
        return grant

    def _named(self, sid: str, request: JSONObject, scope: str) -> tuple[str, FoundJob]:
        """Return the id of the requested job, and the job."""
        grant, job = self._grant(sid, scope), text(request, "job")
        found = self._lookup.find(job, grant)
        self._check_named(sid, job, scope, found.owner)
        return job, found

    def _check_named(self, sid: str, job: str, scope: str, owner: str | None) -> None:
        """Check that the grant still names the job: it may have been replaced during a wait."""
        if not self._grant(sid, scope).names(job, owner):
            raise JobNotFound(f"no job {job} that this token names")

    def _await_cursor(self, sid: str, cursor: str | None) -> None:
        """Wait until the server has read as far as a client's cursor, once if that is in vain.

        The cursors of a client that watches many jobs may all be of a stream that is gone.
        """
        self._grant(sid, "watch")
        client = self.clients.of(sid)
        if cursor and client.may_catch_up:
            client.may_catch_up = self._lookup.await_cursor(cursor)

    def _await_turn(self) -> None:
        """Wait, with the state lock released, until other expensive requests are done."""
        self.server.state_lock.outside(self._pace.wait)

    @answered
    def on_watch(self, sid: str, request: JSONObject) -> Body:
        cursor = text(request, "cursor", required=False) or None
        self._await_cursor(sid, cursor)
        job, found = self._named(sid, request, "watch")
        if isinstance(found, StoredJob):
            if found.state not in TERMINAL:
                self._lookup.hold(found)
                self.clients.watch(sid, job)  # its events come once it starts, or goes on
            told = {"ok": True, "snapshot": found.encode(), "recovered": False, "cursor": None}
            return Body(told, NO_EVENTS)
        self._await_turn()
        if job not in self._journal:
            raise JobNotFound(f"no job {job} that this token names")
        self._check_named(sid, job, "watch", self._journal.owner(job))
        # No switch to another greenlet from here on, so that the events of the room go on where
        # the answer ends.
        with self._pace.work():
            self.clients.watch(sid, job)
            view = self._journal.view(job, cursor)
        tell("watch", sid=sid, job=job, owner=self._journal.owner(job), recovered=view.recovered)
        return view.encode(ok=True)

    @answered
    def on_unwatch(self, sid: str, request: JSONObject) -> JSONObject:
        self._grant(sid, "watch")
        self.clients.unwatch(sid, text(request, "job"))
        return {}

    @answered
    def on_refresh(self, sid: str, request: JSONObject) -> JSONObject:
        try:
            admission = self._auth.admit(self.server.get_environ(sid, NAMESPACE) or {}, request)
            session = self.sessions.of(admission, request)
        except (TokenError, WrongShard) as error:
            raise Refused("unauthorized", str(error)) from None
        grant, renewal = admission.grant, self._renewals.of(admission, request)
        self.clients.refresh(sid, grant, self._journal.owner, session, renewal)
        return {"expires": grant.expires if isfinite(grant.expires) else None}

    @answered
    def on_jobs(self, sid: str, request: JSONObject) -> JSONObject:
        grant = self._grant(sid, "watch")
        wanted = wanted_of(request, grant)
        page = self._search.page(wanted, request)
        # Before anything else, since a client that has left meanwhile is charged too.
        self._limits.charge(sid, grant.owner, page.cost)
        if self._grant(sid, "watch").owner is not None and wanted.owner == grant.owner:
            self.clients.watch_all(sid)
        return answer_of(page, self._search.counts(wanted))

    @answered
    def on_tasks(self, sid: str, request: JSONObject) -> JSONObject:
        try:
            page = self._tasks.page(request, self._grant(sid, "watch"), MAX_PAGE)
        except ArchiveUnavailable as error:
            raise Refused("unavailable", str(error)) from None
        self._grant(sid, "watch")
        return page

    @answered
    def on_enqueue(self, sid: str, request: JSONObject) -> JSONObject | Body:
        owner = self._grant(sid, "enqueue").owner
        if owner is None:
            raise Refused("forbidden", "the token names no owner, so nobody would own the job")
        name, args, kwargs = _call(request)
        key = text(request, "key", required=False) or None
        if not any(fnmatchcase(name, pattern) for pattern in self._bridge.settings.tasks):
            raise Refused(
                "task_not_allowed", f"{name} may not be enqueued by clients: see TASKBRIDGE_TASKS"
            )
        self.clients.check_watched(sid)
        if not self._is_published(owner, key):
            self._limits.enqueue(owner, self._journal.unfinished(owner) + self._fresh.count(owner))
        # The state lock is released while the task is published; other requests count this job.
        with self._fresh.publishing(owner):
            job = self.server.state_lock.outside(
                self._bridge.enqueue, name, args, kwargs, owner=owner, idempotency_key=key
            )
            self._fresh.add(job.id, owner)
        self.clients.watch(sid, job.id)
        return self._first_view(job.id, name, owner)

    def _is_published(self, owner: str, key: str | None) -> bool:
        """Whether a request only asks again for a job that is published, which no limit counts."""
        if key is None:
            return False
        of_owner = key_of("enqueue", owner, key)
        return self.server.state_lock.outside(published, self._bridge, of_owner) is not None

    def _first_view(self, job: str, name: str, owner: str) -> JSONObject | Body:
        if job in self._journal:
            return self._journal.view(job).encode(ok=True, job=job)
        # The job's `queued` event has not come back from the broker yet.
        snapshot, now = Snapshot(job), time.time()
        queued = Event(
            job=job, task=job, name=name, owner=owner, type="queued", at=now, data={"total": 1}
        )
        snapshot.apply(queued)
        told = {"snapshot": snapshot.encode(), "events": [], "recovered": True, "cursor": None}
        return {"job": job, **told}

    @answered
    def on_run_again(self, sid: str, request: JSONObject) -> JSONObject:
        grant = self._grant(sid, "enqueue")
        job, key = text(request, "job"), text(request, "key")
        if grant.owner is None and not grant.allows("operate"):
            raise Refused("forbidden", "only a token that names an owner can run a job again")
        # The archive is asked in any case, so that the time does not tell whether there is a job.
        former = self._reruns.find([job], grant).get(job)
        owner = self._journal.owner(job) if former is None else former.owner
        known = former is not None or job in self._journal
        if not known or not self._grant(sid, "enqueue").names(job, owner):
            raise JobNotFound(f"no job {job} that this token names")
        if former is None:
            former = self._reruns.await_written(job, grant)
        self._reruns.check(former)
        if resume := request.get("resume") is True:
            self._reruns.check_resumable(former)
        new = self._reruns.run(former, grant, key, resume=resume)
        tell("run_again", sid=sid, job=new, again_of=job, owner=grant.owner)
        return {"job": new, "again_of": job}

    @answered
    def on_bulk(self, sid: str, request: JSONObject) -> JSONObject:
        scope = SCOPES[action_of(request)]

        def grant() -> Grant:
            self._grant(sid, "watch")
            return self._grant(sid, scope)

        asked = BulkRequest.of(request, grant())
        done = self._bulk.act(asked, grant)
        self.charge(sid, done.cost)
        if not asked.preview:
            counts = {"jobs": len(done.jobs), "refused": len(done.refused)}
            tell("bulk", sid=sid, action=asked.action, owner=grant().owner, **counts)
        return done.encode()

    @answered
    def on_cancel(self, sid: str, request: JSONObject) -> JSONObject:
        try:
            job, found = self._named(sid, request, "cancel")
            state, owner = found.state, found.owner
        except ResultsUnavailable:
            # Workers can cancel a job that only its token knows now.
            job, state = text(request, "job"), "queued"
            if not self._grant(sid, "cancel").names(job, owner := self._journal.owner(job)):
                raise
        if state in TERMINAL:
            raise Refused("ended", f"the job has already {ENDINGS.get(state, state)}")
        self.server.state_lock.outside(self._bridge.request_cancel, job, owner)
        return {"job": job, "state": state}


def _refusal(error: TokenError | WrongShard | Refused) -> ErrorObject:
    if isinstance(error, Refused):
        return error.encode()
    if isinstance(error, WrongShard):
        return error_object("wrong_shard", str(error), shard=error.shard)
    return error_object("unauthorized", str(error))


def _call(request: JSONObject) -> tuple[str, list[object], JSONObject]:
    given = {name: value for name, value in request.items() if value is not None}
    args, kwargs = given.get("args", []), given.get("kwargs", {})
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Refused("bad_request", "args must be a list and kwargs an object")
    return text(request, "name"), args, kwargs
