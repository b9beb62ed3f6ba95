"""``GET /api/jobs/<id>/tasks``: the tasks of a job, as a tree or a timeline shows them."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from socket_server.archive.finding.tasks import JobTasks
from socket_server.http.answers import admitted, refusing
from socket_server.limits.rate_limits import RateLimits
from socket_server.messages.answer import Body
from socket_server.watching.auth import Auth
from socket_server.watching.search_request import queried

__all__ = ["add_job_tasks"]

#: Maximum bytes of JSON of the tasks in an answer.
MAX_BYTES = 512 * 1024


def add_job_tasks(http: Flask, auth: Auth, limits: RateLimits, tasks: JobTasks) -> None:
    """Add the route."""
    http.get("/api/jobs/<id>/tasks", endpoint="tasks")(_tasks(auth, limits, tasks))


def _tasks(auth: Auth, limits: RateLimits, tasks: JobTasks) -> Callable[[str], ResponseReturnValue]:
    @refusing
    def answer(id: str) -> ResponseReturnValue:
        grant, client = admitted(auth, limits)
        page = tasks.page({**dict(queried(request.args)), "job": id}, grant, MAX_BYTES)
        body = Body(page).head
        limits.charge(client, grant.owner, len(body))
        return Response(body, mimetype="application/json")

    return answer
