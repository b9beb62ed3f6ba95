"""``GET /api/jobs/<id>/log``: the whole log of a job as text, sent as it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Flask, Response
from flask.typing import ResponseReturnValue

from socket_server.archive.finding.log import JobLog
from socket_server.http.answers import admitted, refusing
from socket_server.limits.rate_limits import RateLimits
from socket_server.watching.auth import Auth

__all__ = ["add_job_log"]


def add_job_log(http: Flask, auth: Auth, limits: RateLimits, log: JobLog) -> None:
    """Add the route."""
    http.get("/api/jobs/<id>/log", endpoint="log")(_log(auth, limits, log))


def _log(auth: Auth, limits: RateLimits, log: JobLog) -> Callable[[str], ResponseReturnValue]:
    @refusing
    def answer(id: str) -> ResponseReturnValue:
        grant, client = admitted(auth, limits)

        def charged(pieces: Iterator[bytes]) -> Iterator[bytes]:
            for piece in pieces:
                # Under threads, the answer is sent when the state lock is no longer held.
                with log.state_lock:
                    limits.charge(client, grant.owner, len(piece))
                yield piece

        return Response(charged(log.pieces(id, grant)), mimetype="text/plain")

    return answer
