"""What routes share: the token of a request, and an answer that is an error."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

from flask import Response, jsonify, request
from flask.typing import ResponseReturnValue

from bridge.errors import JobNotFound, ResultsUnavailable, TokenError, WrongShard
from bridge.protocol.error_codes import error_object
from bridge.protocol.request_types import ErrorCode, ErrorObject
from bridge.tokens import Grant
from socket_server.archive.finding.wanted import ArchiveUnavailable
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.requests import Refused
from socket_server.watching.auth import Auth

__all__ = ["MISDIRECTED", "admitted", "bearer", "demand_watch", "error", "refused", "refusing"]

P = ParamSpec("P")

#: Status of a request for a job of another shard (RFC 9110, 15.5.20).
MISDIRECTED = 421
#: HTTP status of a refusal, by its code; 400 for others.
STATUS = {"forbidden": 403, "too_many_requests": 429}


def bearer() -> dict[str, str] | None:
    """Return the token of the request's ``Authorization`` header, as clients send it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return {"token": token} if scheme.lower() == "bearer" else None


def error(status: int, code: ErrorCode, message: str) -> Response:
    """Return an answer that is an error.

    Args:
        status: HTTP status.
        code: the protocol's code.
        message: one sentence for a person.
    """
    return refused(error_object(code, message), status)


def refused(told: ErrorObject, status: int) -> Response:
    """Return an answer with an error of the protocol, and when to ask again as HTTP says it.

    Args:
        told: the error.
        status: HTTP status.
    """
    answer = jsonify(error=told)
    answer.status_code = status
    if (after := told.get("retry_after")) is not None:
        answer.headers["Retry-After"] = str(int(after) + 1)
    return answer


def admitted(
    auth: Auth,
    limits: RateLimits,
    job: str | None = None,
    credentials: dict[str, str] | None = None,
) -> tuple[Grant, str]:
    """Return the grant of a request to watch jobs, and the name under which it is limited.

    Args:
        auth: checks the credentials.
        limits: limits of requests.
        job: id of a job that is polled, as a bar in a page is: each such job has a rate of its own,
            so that many bars go on behind one address. Default None, for a rate of the address.
        credentials: default those of the ``Authorization`` header.

    Raises:
        TokenError: there is no valid token.
        WrongShard: the jobs of the grant belong to another shard.
        Refused: the scope does not allow it, or there are too many requests.
    """
    grant = auth.grant(request.environ, bearer() if credentials is None else credentials)
    demand_watch(grant)
    client = f"http {request.remote_addr}"
    # Ids that a token without an owner does not name are no way to more requests.
    if job is not None and (grant.owner is not None or job in grant.jobs):
        client = f"{client} {job}"
    limits.request(client, grant.owner)
    return grant, client


def demand_watch(grant: Grant) -> None:
    """Check that a grant allows to watch jobs.

    Raises:
        Refused: it does not.
    """
    if not grant.allows("watch"):
        raise Refused("forbidden", "the token's scope does not allow watch")


def refusing(view: Callable[P, ResponseReturnValue]) -> Callable[P, ResponseReturnValue]:
    """Turn the refusals that a view raises into answers that are errors."""

    @functools.wraps(view)
    def answer(*arguments: P.args, **options: P.kwargs) -> ResponseReturnValue:
        try:
            return view(*arguments, **options)
        except TokenError as refusal:
            return error(401, "unauthorized", str(refusal))
        except WrongShard as refusal:
            told = error_object("wrong_shard", str(refusal), shard=refusal.shard)
            return refused(told, MISDIRECTED)
        except JobNotFound as refusal:
            return error(404, "not_found", str(refusal))
        except (ArchiveUnavailable, ResultsUnavailable) as refusal:
            return error(503, "unavailable", str(refusal))
        except Refused as refusal:
            return refused(refusal.encode(), STATUS.get(refusal.code, 400))

    return answer
