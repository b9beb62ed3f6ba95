"""Make the descriptions of a server from the protocol's JSON Schema: AsyncAPI 3 and OpenAPI 3.1.

The documentation publishes both: what travels over Socket.IO and in event streams, and HTTP.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bridge.protocol import frames  # noqa: E402
from scripts.protocol_schema import schema  # noqa: E402

__all__ = ["asyncapi", "openapi"]

Described = dict[str, Any]

SOCKET_IO = (
    "Socket.IO, namespace /jobs, over /socket.io/; the auth payload is {token, renew?}. A request "
    "is an event with a payload, and its acknowledgement is the answer."
)
STREAM = (
    "Server-sent events over HTTP. Comments are sent where nothing else was for 15 seconds. The id "
    "of an event is the cursor with which a client comes back."
)
#: Each route: summary, parameters beside the job's id, type of the answer or its media type, and
#: the statuses of refusals.
ROUTES: dict[str, tuple[str, list[str], str, list[int]]] = {
    "/api/page": ("What a page offers the user of a token", [], "PageAnswer", [401, 421]),
    "/api/origin": ("Whether pages of an origin may connect", ["origin"], "OriginAnswer", []),
    "/api/jobs": (
        "Jobs, the newest first: those that the server holds, and those of the archive",
        ["owner", "state", "name", "text", "since", "until", "limit", "next"],
        "JobsPage",
        [400, 401, 403, 421, 429],
    ),
    "/api/jobs/{id}": ("A job's snapshot", [], "SnapshotData", [401, 403, 404, 421, 429, 503]),
    "/api/jobs/{id}/events": (
        "A job's snapshot and events, until it has ended; see asyncapi.json",
        ["cursor", "Last-Event-ID"],
        "text/event-stream",
        [400, 401, 403, 404, 421, 429, 500, 503],
    ),
    "/api/jobs/{id}/log": (
        "The whole log of a job, and what is missing of it",
        [],
        "text/plain",
        [401, 403, 404, 421, 429, 503],
    ),
    "/api/jobs/{id}/tasks": (
        "The tasks of a job, in the order of their ids",
        ["limit", "cursor"],
        "TasksPage",
        [400, 401, 403, 404, 421, 429, 503],
    ),
    "/api/deliveries": (
        "For operators: deliveries to webhooks of a job, or those that fail",
        ["job", "limit"],
        "DeliveriesAnswer",
        [400, 401, 403, 421, 429, 503],
    ),
    "/api/progress/{id}": (
        "A job's progress in celery-progress's format",
        ["token"],
        "CeleryProgress",
        [401, 403, 404, 421, 429, 503],
    ),
    "/healthz": ("Whether the server listens to the broker", [], "HealthAnswer", []),
    "/readyz": ("Whether the server is ready for clients", [], "HealthAnswer", []),
}
#: Routes without a token.
OPEN = {"/api/origin", "/healthz", "/readyz"}
#: Statuses beside 200 and refusals.
MORE: dict[str, dict[str, tuple[str, str]]] = {
    "/api/jobs/{id}/events": {"204": ("The client knows that the job has ended", "")},
    "/healthz": {"503": ("It does not", "HealthAnswer")},
    "/readyz": {"503": ("It is not", "HealthAnswer")},
}


def as_json(description: Described) -> str:
    """Return a description as JSON, with a newline at its end."""
    return json.dumps(description, indent=2, ensure_ascii=False) + "\n"


def asyncapi() -> Described:
    """Return the AsyncAPI 3.0 description of the namespace ``/jobs`` and of event streams."""
    messages: Described = {}
    operations: Described = {}
    for name, (request, answer) in frames.REQUESTS.items():
        messages |= {name: _message(name, request), f"{name}.answer": _message(name, answer)}
        answers = _messages("jobs", f"{name}.answer", "refused")
        reply = {"channel": {"$ref": "#/channels/jobs"}, "messages": answers}
        operations[name] = {**_operation("receive", "jobs", name), "reply": reply}
    messages["refused"] = _message("refused", "ErrorAnswer")
    messages |= {name: _message(name, kind) for name, kind in frames.EVENTS.items()}
    streamed = {name: _message(name, kind) for name, kind in frames.STREAMED.items()}
    operations["send"] = _operation("send", "jobs", *frames.EVENTS)
    operations["stream"] = _operation("send", "events", *streamed)
    return {
        "asyncapi": "3.0.0",
        "info": _info("taskbridge: jobs, live"),
        "defaultContentType": "application/json",
        "channels": {
            "jobs": {"address": "/jobs", "description": SOCKET_IO, "messages": messages},
            "events": {
                "address": "/api/jobs/{id}/events",
                "description": STREAM,
                "parameters": {"id": {"description": "Id of the job."}},
                "messages": streamed,
            },
        },
        "operations": operations,
        "components": {"schemas": _schemas()},
    }


def openapi() -> Described:
    """Return the OpenAPI 3.1 description of what a server answers over HTTP."""
    return {
        "openapi": "3.1.0",
        "info": _info("taskbridge over HTTP"),
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": {path: {"get": _get(path)} for path in ROUTES},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _info(title: str) -> Described:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {"title": title, "version": project["version"]}


def _schemas() -> Described:
    """Return the types' schemas, which refer to each other within a description."""
    text = json.dumps(schema()["$defs"]).replace("#/$defs/", "#/components/schemas/")
    schemas: Described = json.loads(text)
    return schemas


def _message(name: str, kind: Any) -> Described:
    type = kind if isinstance(kind, str) else kind.__name__
    return {"name": name, "payload": {"$ref": f"#/components/schemas/{type}"}}


def _messages(channel: str, *names: str) -> list[Described]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]


def _operation(action: str, channel: str, *names: str) -> Described:
    place = {"$ref": f"#/channels/{channel}"}
    return {"action": action, "channel": place, "messages": _messages(channel, *names)}


def _get(path: str) -> Described:
    summary, parameters, kind, refusals = ROUTES[path]
    more = {status: _answer(*told) for status, told in MORE.get(path, {}).items()}
    refused = {str(status): _answer("Refused", "RefusedAnswer") for status in refusals}
    given = [_parameter("id", "path")] * ("{id}" in path)
    given += [_parameter(name, _place(name)) for name in parameters]
    security = {} if path in OPEN else {"security": [{"token": []}, {}]}
    answers = {"200": _answer(summary, kind), **more, **refused}
    return {"summary": summary, "parameters": given, "responses": answers, **security}


def _place(name: str) -> str:
    return "header" if name[0].isupper() else "query"


def _parameter(name: str, place: str) -> Described:
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": "string"}}


def _answer(text: str, kind: str) -> Described:
    if not kind:
        return {"description": text}
    if "/" in kind:
        return {"description": text, "content": {kind: {"schema": {"type": "string"}}}}
    reference = {"$ref": f"#/components/schemas/{kind}"}
    return {"description": text, "content": {"application/json": {"schema": reference}}}
