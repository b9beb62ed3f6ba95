"""The route of a job's events as server-sent events, for ``curl -N`` and ``EventSource``."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request
from flask.typing import ResponseReturnValue

from bridge.protocol.error_codes import error_object
from bridge.protocol.request_types import ErrorCode, ErrorObject
from bridge.settings import Settings
from socket_server.concurrency.wsgi import HANG_UP
from socket_server.http.answers import refused
from socket_server.limits.origins import Origins
from socket_server.watching.event_stream import EventStream
from socket_server.watching.event_streams import EventStreams

__all__ = ["event_stream_view"]

#: HTTP status of a refusal; 400 for codes that are not here.
STATUS: dict[ErrorCode, int] = {
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "wrong_shard": 421,
    "too_many_requests": 429,
    "too_many_jobs": 429,
    "too_many_connections": 429,
    "internal": 500,
    "unavailable": 503,
}
HEADERS = {
    "Cache-Control": "no-cache, no-store, no-transform",
    # nginx passes on each event at once.
    "X-Accel-Buffering": "no",
    # A client that comes back after the end may reach another server.
    "Connection": "close",
}

#: Returns the auth payload of a request, or an error.
Credentials = Callable[[], dict[str, str] | None]


def event_stream_view(
    streams: EventStreams, settings: Settings, credentials: Credentials
) -> Callable[[str], ResponseReturnValue]:
    """Return a view that answers a job's snapshot and events until the job has ended.

    Args:
        streams: opens event streams.
        settings: allowed origins.
        credentials: returns the auth payload of the current request.
    """
    origins = Origins(settings.origins)

    def events(id: str) -> ResponseReturnValue:
        if request.method != "GET":
            return Response(status=405, headers={"Allow": "GET"})
        origin = request.headers.get("Origin")
        if (refusal := origins.refusal(origin, request.environ)) is not None:
            return _refused(error_object("forbidden", refusal))
        after = request.headers.get("Last-Event-ID") or request.args.get("cursor")
        opened = streams.open(request.environ, credentials(), id, after)
        answer = _refused(opened) if isinstance(opened, dict) else _streamed(opened)
        if origin:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Allow-Credentials"] = "true"
        answer.headers["Vary"] = "Origin"
        return answer

    return events


def _streamed(stream: EventStream | None) -> Response:
    if stream is None:  # after which EventSource does not connect again
        return Response(status=204, headers={"Cache-Control": "no-store"})
    request.environ.get(HANG_UP, int)()
    kind = "text/event-stream"
    return Response(stream, headers=HEADERS, content_type=kind, direct_passthrough=True)


def _refused(error: ErrorObject) -> Response:
    answer = refused(error, STATUS.get(error["code"], 400))
    answer.headers["Cache-Control"] = "no-store"
    return answer
