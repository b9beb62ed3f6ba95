"""``GET /api/jobs``: the list of jobs, as the request ``jobs`` of Socket.IO answers it."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from bridge.errors import TokenError, WrongShard
from socket_server.http.answers import MISDIRECTED, bearer, error
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.answer import Body
from socket_server.messages.requests import Refused
from socket_server.watching.auth import Auth
from socket_server.watching.job_search import JobSearch, answer_of
from socket_server.watching.search_request import queried, wanted_of

__all__ = ["add_job_list"]

#: Bytes that a listing is charged for each job that it looks at.
LOOK = 64
#: HTTP status of a refusal, by its code; 400 for others.
STATUS = {"forbidden": 403, "too_many_requests": 429}


def add_job_list(http: Flask, auth: Auth, limits: RateLimits, search: JobSearch) -> None:
    """Add the route."""
    http.get("/api/jobs", endpoint="jobs")(_jobs(auth, limits, search))


def _jobs(auth: Auth, limits: RateLimits, search: JobSearch) -> Callable[[], ResponseReturnValue]:
    def jobs() -> ResponseReturnValue:
        try:
            return _answer(auth, limits, search)
        except TokenError as refusal:
            return error(401, "unauthorized", str(refusal))
        except WrongShard as refusal:
            return error(MISDIRECTED, "wrong_shard", str(refusal))
        except Refused as refusal:
            return error(STATUS.get(refusal.code, 400), refusal.code, str(refusal))

    return jobs


def _answer(auth: Auth, limits: RateLimits, search: JobSearch) -> Response:
    grant = auth.grant(request.environ, bearer())
    if not grant.allows("watch"):
        raise Refused("forbidden", "the token's scope does not allow watch")
    client = f"http {request.remote_addr}"
    limits.request(client, grant.owner)
    fields = dict(queried(request.args))
    wanted = wanted_of(fields, grant)
    page = search.page(wanted, fields)
    body = Body(answer_of(page, search.counts(wanted))).head
    limits.charge(client, grant.owner, len(body) + LOOK * page.looked)
    return Response(body, mimetype="application/json")
