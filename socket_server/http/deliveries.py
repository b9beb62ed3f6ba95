"""``GET /api/deliveries``: deliveries to webhooks, for operators."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from socket_server.archive.finding.wanted import Archive
from socket_server.concurrency.state_lock import StateLock
from socket_server.http.answers import admitted, refusing
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.answer import Body
from socket_server.messages.requests import Refused, text, whole
from socket_server.watching.auth import Auth
from socket_server.watching.search_request import queried

__all__ = ["add_deliveries"]

#: Most deliveries in one answer, and those of an answer to a request that says no number.
MAX_LISTED = 100


def add_deliveries(
    http: Flask, auth: Auth, limits: RateLimits, archive: Archive | None, state_lock: StateLock
) -> None:
    """Add the route.

    Args:
        http: the application.
        auth: checks tokens.
        limits: limits of requests.
        archive: the archive; None without one.
        state_lock: the state lock, released while the archive is asked.
    """
    http.get("/api/deliveries", endpoint="deliveries")(
        _deliveries(auth, limits, archive, state_lock)
    )


def _deliveries(
    auth: Auth, limits: RateLimits, archive: Archive | None, state_lock: StateLock
) -> Callable[[], ResponseReturnValue]:
    @refusing
    def answer() -> ResponseReturnValue:
        grant, client = admitted(auth, limits)
        if not grant.allows("operate"):
            # The failures tell where an operator's endpoints are.
            raise Refused("forbidden", "the token's scope does not allow operate")
        job = text({"job": request.args.get("job")}, "job", required=False)
        most = whole(dict(queried(request.args)), "limit", default=MAX_LISTED, most=MAX_LISTED)
        found = state_lock.outside(archive.deliveries, job or None, most) if archive else []
        body = Body({"deliveries": found}).head
        limits.charge(client, grant.owner, len(body))
        return Response(body, mimetype="application/json")

    return answer
