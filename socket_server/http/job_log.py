"""``GET /api/jobs/<id>/log``: the whole log of a job as text, sent as it is read."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from bridge.errors import JobNotFound, TokenError, WrongShard
from socket_server.archive.finding.log import JobLog
from socket_server.archive.finding.wanted import ArchiveUnavailable
from socket_server.http.answers import MISDIRECTED, bearer, error
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.requests import Refused
from socket_server.watching.auth import Auth

__all__ = ["add_job_log"]


def add_job_log(http: Flask, auth: Auth, limits: RateLimits, log: JobLog) -> None:
    """Add the route."""
    http.get("/api/jobs/<id>/log", endpoint="log")(_log(auth, limits, log))


def _log(auth: Auth, limits: RateLimits, log: JobLog) -> Callable[[str], ResponseReturnValue]:
    def answer(id: str) -> ResponseReturnValue:
        try:
            grant = auth.grant(request.environ, bearer())
            if not grant.allows("watch"):
                return error(403, "forbidden", "the token's scope does not allow watch")
            limits.request(f"http {request.remote_addr}", grant.owner)
            return Response(log.pieces(id, grant), mimetype="text/plain")
        except TokenError as refusal:
            return error(401, "unauthorized", str(refusal))
        except WrongShard as refusal:
            return error(MISDIRECTED, "wrong_shard", str(refusal))
        except JobNotFound as refusal:
            return error(404, "not_found", str(refusal))
        except ArchiveUnavailable as refusal:
            return error(503, "unavailable", str(refusal))
        except Refused as refusal:
            return error(429, refusal.code, str(refusal))

    return answer
