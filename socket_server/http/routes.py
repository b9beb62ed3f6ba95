"""HTTP routes: the page, snapshots of jobs, celery-progress, health checks and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response, jsonify, make_response, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bridge.errors import TokenError
from bridge.protocol.error_codes import error_object
from bridge.protocol.http_types import CeleryProgress
from bridge.protocol.json_types import SnapshotData
from bridge.settings import Settings
from socket_server.hosting import NO_WEBSOCKETS
from socket_server.http.answers import admitted, bearer, refusing
from socket_server.http.answers import error as _error
from socket_server.http.celery_progress import as_celery_progress
from socket_server.http.event_streams import event_stream_view
from socket_server.http.health import Health
from socket_server.limits.origins import Origins
from socket_server.limits.rate_limits import RateLimits
from socket_server.watching.auth import Auth
from socket_server.watching.event_streams import EventStreams
from socket_server.watching.job_lookup import JobLookup

__all__ = ["new_health", "new_http"]

STATIC = Path(__file__).parents[1] / "web" / "static"

NO_URL_TOKENS = "a token in a URL is taken only with TASKBRIDGE_URL_TOKENS=1"
#: The page has no inline script or style, connects to its own server alone, and is not framed.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def new_http(
    settings: Settings,
    auth: Auth,
    limits: RateLimits,
    lookup: JobLookup,
    health: Health,
    streams: EventStreams,
) -> Flask:
    """Return the WSGI application that is served beside Socket.IO."""
    http = Flask("socket_server", static_folder=str(STATIC), static_url_path="/static")
    http.after_request(_secure)
    http.get("/")(_index(http))
    http.get("/api/page")(_page(auth, settings))
    http.get("/api/origin")(_origin(settings))
    answered = _job(auth, limits, lookup)
    http.get("/api/jobs/<id>", endpoint="job")(refusing(lambda id: answered(id, None, jsonify)))
    events = event_stream_view(streams, settings, bearer)
    http.get("/api/jobs/<id>/events", endpoint="events")(events)
    http.get("/api/progress/<id>", endpoint="progress")(_progress(answered, lookup, settings))
    _add_health(http, settings, health)
    http.register_error_handler(404, lambda _: _error(404, "not_found", "there is nothing here"))
    return http


def new_health(settings: Settings, health: Health, registry: CollectorRegistry) -> Flask:
    """Return a WSGI application with health checks and metrics alone, for a port of its own."""
    http = Flask("health", static_folder=None)
    _add_health(http, settings, health)
    http.get("/metrics")(lambda: Response(generate_latest(registry), mimetype=CONTENT_TYPE_LATEST))
    return http


def _add_health(http: Flask, settings: Settings, health: Health) -> None:
    facts = {"channel": settings.channel, "shard": settings.shard, "shards": settings.shards}
    http.get("/healthz", endpoint="healthz")(_well(health, health.illness, **facts))
    http.get("/readyz", endpoint="readyz")(_well(health, health.objection, **facts))


def _secure(response: Response) -> Response:
    response.headers.update(SECURITY_HEADERS)
    if request.path.startswith("/static/"):
        # Pages of any origin may load these public files, which include the custom element.
        response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def _index(http: Flask) -> Callable[[], ResponseReturnValue]:
    def index() -> ResponseReturnValue:
        if (STATIC / "index.html").exists():
            return http.send_static_file("index.html")
        text = "The page is not built: run `make web` where the server is installed.\n"
        return Response(text, 503, mimetype="text/plain")

    return index


def _page(auth: Auth, settings: Settings) -> Callable[[], ResponseReturnValue]:
    """Return a view with what the page may offer: tasks, Flower, and the past."""

    @refusing
    def page() -> ResponseReturnValue:
        grant = auth.grant(request.environ, bearer())
        tasks = list(settings.tasks) if grant.allows("enqueue") else []
        archive = settings.archive_url is not None
        return jsonify(tasks=tasks, flower_url=settings.flower_url, archive=archive)

    return page


def _origin(settings: Settings) -> Callable[[], ResponseReturnValue]:
    """Return a view that says whether pages of the origin in the query may connect.

    A browser does not tell a page why a WebSocket was refused.
    """
    origins = Origins(settings.origins)

    def origin() -> ResponseReturnValue:
        environ = request.environ
        refusal = origins.refusal(request.args.get("origin"), environ) or environ.get(NO_WEBSOCKETS)
        error = None if refusal is None else error_object("forbidden", refusal)
        answer = jsonify(ok=error is None, error=error)
        # A refused page must be able to read it; the answer depends on no token and no cookie.
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return origin


def _well(
    health: Health, reason: Callable[[], str | None], **facts: object
) -> Callable[[], ResponseReturnValue]:
    def well() -> ResponseReturnValue:
        told = {**facts, "time": time.time(), "reach": health.reach}
        if (why_not := reason()) is None:
            return jsonify(status="ok", **told)
        return jsonify(status="unavailable", reason=why_not, **told), 503

    return well


Credentials = dict[str, str] | None
#: Answers with what a view makes of a job's snapshot: job, credentials, and the view.
Answered = Callable[[str, Credentials, Callable[[SnapshotData], Response]], Response]


def _job(auth: Auth, limits: RateLimits, lookup: JobLookup) -> Answered:
    """Return a function that answers with a job's snapshot, or raises a refusal."""

    def answered(
        job: str, credentials: Credentials, view: Callable[[SnapshotData], Response]
    ) -> Response:
        grant, client = admitted(auth, limits, job, credentials)
        answer = view(lookup.find(job, grant).encode())
        limits.charge(client, grant.owner, len(answer.get_data()))
        return answer

    return answered


def _progress(
    answered: Answered, lookup: JobLookup, settings: Settings
) -> Callable[[str], ResponseReturnValue]:
    """Return a view that answers celery-progress's script as celery-progress's own view does."""

    @refusing
    def found(id: str) -> ResponseReturnValue:
        # That script sends no Authorization header: it has a token in its URL, or a session cookie.
        token = request.args.get("token")
        if token and not settings.url_tokens:
            raise TokenError(NO_URL_TOKENS)
        credentials = {"token": token} if token else None
        return answered(id, credentials, lambda one: jsonify(_as_progress(one, lookup)))

    def progress(id: str) -> ResponseReturnValue:
        answer = make_response(found(id))
        if (origin := request.headers.get("Origin")) in settings.origins:
            answer.headers["Access-Control-Allow-Origin"] = origin
            answer.headers["Access-Control-Allow-Credentials"] = "true"
            answer.headers["Vary"] = "Origin"
        return answer

    return progress


def _as_progress(snapshot: SnapshotData, lookup: JobLookup) -> CeleryProgress:
    return as_celery_progress(_with_bar(snapshot, lookup))


def _with_bar(snapshot: SnapshotData, lookup: JobLookup) -> SnapshotData:
    """Return a job's snapshot; without a bar of its own, with the progress that its task stores."""
    if snapshot["bars"] or snapshot["state"] not in ("queued", "running", "cancelling"):
        return snapshot
    bar = lookup.stored_progress(snapshot["job"])
    return {**snapshot, "bars": [bar]} if bar else snapshot
