"""``GET /api/jobs``: the list of jobs, as the request ``jobs`` of Socket.IO answers it."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from socket_server.http.answers import admitted, refusing
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.answer import Body
from socket_server.watching.auth import Auth
from socket_server.watching.job_search import JobSearch, answer_of
from socket_server.watching.search_request import queried, wanted_of

__all__ = ["add_job_list"]


def add_job_list(http: Flask, auth: Auth, limits: RateLimits, search: JobSearch) -> None:
    """Add the route."""
    http.get("/api/jobs", endpoint="jobs")(_jobs(auth, limits, search))


def _jobs(auth: Auth, limits: RateLimits, search: JobSearch) -> Callable[[], ResponseReturnValue]:
    @refusing
    def jobs() -> ResponseReturnValue:
        grant, client = admitted(auth, limits)
        fields = dict(queried(request.args))
        wanted = wanted_of(fields, grant)
        page = search.page(wanted, fields)
        body = Body(answer_of(page, search.counts(wanted))).head
        limits.charge(client, grant.owner, len(body) + page.cost)
        return Response(body, mimetype="application/json")

    return jobs
