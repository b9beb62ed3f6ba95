"""The ``/jobs`` namespace: what clients may ask for."""

from __future__ import annotations

import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import socketio
from socketio.exceptions import ConnectionRefusedError as Refusal

from bridge import tokens
from bridge.client import ENDINGS, Bridge
from bridge.errors import TokenError
from bridge.events import NAMESPACE, TERMINAL, Event, room_of_job, room_of_owner
from bridge.snapshot import Snapshot
from bridge.tokens import Grant
from socket_server.journal import Journal
from socket_server.lookup import Lookup
from socket_server.requests import Refused, answered, text, whole

__all__ = ["JobsNamespace"]

#: Seconds that a client waits for a server that has only just started, and between two looks.
PATIENCE, INTERVAL = 5.0, 0.05
NOT_READY = "the server does not listen to the broker yet, or still reads what it missed: try again"
#: Jobs in one answer.
MAX_LISTED = 200


class JobsNamespace(socketio.Namespace):
    """Answers clients from the journal; who may ask for what is in their token.

    Args:
        bridge: through which jobs are enqueued and cancelled.
        journal: what the server knows.
        lookup: finds the jobs that clients name.
        ready: whether the server has read what it missed.
    """

    def __init__(
        self, bridge: Bridge, journal: Journal, lookup: Lookup, ready: Callable[[], bool]
    ) -> None:
        super().__init__(NAMESPACE)
        self._ready = ready
        self._bridge = bridge
        self._journal = journal
        self._lookup = lookup
        self._grants: dict[str, Grant] = {}

    def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        token = auth.get("token") if isinstance(auth, dict) else None
        try:
            grant = tokens.verify(self._bridge.settings.keys, token)
        except TokenError as error:
            raise Refusal(str(error), {"code": "unauthorized", "message": str(error)}) from None
        self._await_ready()
        self._grants[sid] = grant

    def _await_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._ready():
            if time.monotonic() > deadline:
                raise Refusal(NOT_READY, {"code": "unavailable", "message": NOT_READY})
            self.server.sleep(INTERVAL)

    def on_disconnect(self, sid: str, *_: Any) -> None:
        self._grants.pop(sid, None)

    def expire(self) -> None:
        """End the connections whose token has expired."""
        now = time.time()
        for sid, grant in list(self._grants.items()):
            if grant.expires <= now:
                self.disconnect(sid)

    def _grant(self, sid: str, scope: str) -> Grant:
        grant = self._grants.get(sid)
        if grant is None or grant.expires <= time.time():
            raise Refused("unauthorized", "the token has expired: connect with a new one")
        if not grant.allows(scope):
            raise Refused("forbidden", f"the token's scope does not allow {scope}")
        return grant

    def _named(self, sid: str, request: dict[str, Any], scope: str) -> tuple[str, Any]:
        """Return the job that the request names, and its snapshot if it is not held any more."""
        grant, job = self._grant(sid, scope), text(request, "job")
        return job, self._lookup.find(job, grant)

    @answered
    def on_watch(self, sid: str, request: dict[str, Any]) -> dict[str, Any]:
        cursor = text(request, "cursor", required=False) or None
        job, result = self._named(sid, request, "watch")
        if result is not None:
            return {"snapshot": result, "events": [], "recovered": False, "cursor": None}
        self._lookup.await_cursor(job, cursor)
        # No switch to another greenlet from here on: what is joined now goes on where the
        # answer stops.
        self.enter_room(sid, room_of_job(job))
        return self._journal.view(job, cursor).encode()

    @answered
    def on_unwatch(self, sid: str, request: dict[str, Any]) -> dict[str, Any]:
        self._grant(sid, "watch")
        self.leave_room(sid, room_of_job(text(request, "job")))
        return {}

    @answered
    def on_jobs(self, sid: str, request: dict[str, Any]) -> dict[str, Any]:
        owner = self._grant(sid, "watch").owner
        if owner is None:
            raise Refused("forbidden", "the token names no owner, only single jobs")
        limit = whole(request, "limit", default=50, most=MAX_LISTED)
        state = text(request, "state", required=False) or None
        self.enter_room(sid, room_of_owner(owner))
        return {"jobs": self._journal.jobs(owner, limit=limit, state=state)}

    @answered
    def on_enqueue(self, sid: str, request: dict[str, Any]) -> dict[str, Any]:
        owner = self._grant(sid, "enqueue").owner
        if owner is None:
            raise Refused("forbidden", "the token names no owner, so nobody would own the job")
        name, args, kwargs = _call(request)
        if not any(fnmatchcase(name, pattern) for pattern in self._bridge.settings.tasks):
            raise Refused(
                "task_not_allowed", f"{name} may not be enqueued by clients: see TASKBRIDGE_TASKS"
            )
        job = self._bridge.enqueue(name, args, kwargs, owner=owner)
        self.enter_room(sid, room_of_job(job.id))
        return {"job": job.id, **self._first_view(job.id, name, owner)}

    def _first_view(self, job: str, name: str, owner: str) -> dict[str, Any]:
        if job in self._journal:
            return self._journal.view(job).encode()
        # The event that says so is still on its way round by the broker.
        snapshot, now = Snapshot(job), time.time()
        queued = Event(
            job=job, task=job, name=name, owner=owner, type="queued", at=now, data={"total": 1}
        )
        snapshot.apply(queued)
        return {"snapshot": snapshot.encode(), "events": [], "recovered": True, "cursor": None}

    @answered
    def on_cancel(self, sid: str, request: dict[str, Any]) -> dict[str, Any]:
        job, result = self._named(sid, request, "cancel")
        state = (result or self._journal.snapshot(job))["state"]
        if state in TERMINAL:
            raise Refused("ended", f"the job has already {ENDINGS.get(state, state)}")
        self._bridge.request_cancel(job, aside=self._lookup.aside)
        return {"job": job, "state": state}


def _call(request: dict[str, Any]) -> tuple[str, list[Any], dict[str, Any]]:
    args, kwargs = request.get("args") or [], request.get("kwargs") or {}
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise Refused("bad_request", "args must be a list and kwargs an object")
    return text(request, "name"), args, kwargs
