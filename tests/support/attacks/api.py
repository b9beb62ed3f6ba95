"""Plain HTTP: jobs by their ids, celery-progress's view, health."""

from __future__ import annotations

import json
import uuid
from contextlib import ExitStack

from support.attacks import Target, attack
from support.attacks.smuggling import REFUSED
from support.raw import Reply


def get(target: Target, path: str, *headers: str, method: str = "GET") -> Reply:
    """Send a request and return its answer."""
    with target.raw() as raw:
        return raw.request(f"{method} {path} HTTP/1.1", *headers)


def bearer(target: Target, **claims: object) -> str:
    """Return the header of somebody who may do everything, with jobs of its own."""
    claims = {"owner": target.own, "scope": "watch cancel enqueue", **claims}
    return f"Authorization: Bearer {target.bridge.token(**claims)}"  # type: ignore[arg-type]


@attack
def ids_of_all_kinds(target: Target) -> None:
    ids = (
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "x" * 3000,
        "%7B%7D",
        f"job:{target.job}",
        f"{target.job}%20",
        target.job.upper(),
        "%F0%9F%A6%8A",
        "%ff",
        "*",
    )
    header = bearer(target)
    with ExitStack() as stack:  # at once, since the server waits for a job that is not there
        asked = {}
        for path in (f"/api/{folder}/{id}" for folder in ("jobs", "progress") for id in ids):
            asked[path] = stack.enter_context(target.raw())
            asked[path].request_head(f"GET {path} HTTP/1.1", header)
        for path, raw in asked.items():
            assert raw.reply().status in REFUSED, path


@attack
def credentials_of_all_kinds(target: Target) -> None:
    token = target.bridge.token(owner=target.own)
    for value in (
        "Bearer",
        "Bearer  ",
        f"Basic {token}",
        f"Bearer {token} {token}",
        f"Bearer\t{token}",
        f"Token {token}",
        "Bearer " + "x" * 6000,
        "Bearer \xff\xfe",
        f"Bearer {token}\r\nAuthorization: Bearer x",
    ):
        for path in ("/api/page", f"/api/jobs/{target.job}"):
            assert get(target, path, f"Authorization: {value}").status in (401, *REFUSED), value


@attack
def token_in_the_address_of_the_api(target: Target) -> None:
    token = target.bridge.token(owner=target.owner)
    for path in ("/api/page", f"/api/jobs/{target.job}", f"/api/progress/{target.job}"):
        reply = get(target, f"{path}?token={token}&access_token={token}")
        assert reply.status == 401
        assert token.encode() not in reply.body
    assert token not in target.log()


@attack
def progress_of_somebody_elses_job(target: Target) -> None:
    answers = set()
    for job in (target.job, str(uuid.uuid4())):
        reply = get(target, f"/api/progress/{job}", bearer(target))
        answers.add((reply.status, reply.body.replace(job.encode(), b"")))
    assert len(answers) == 1
    assert answers.pop()[0] == 404


@attack
def pages_of_other_origins(target: Target) -> None:
    for path in ("/api/page", f"/api/progress/{target.job}", "/healthz", "/"):
        for method in ("GET", "OPTIONS"):
            reply = get(
                target,
                path,
                "Origin: https://evil.example",
                "Access-Control-Request-Method: GET",
                "Access-Control-Request-Headers: authorization",
                method=method,
            )
            assert "access-control-allow-origin" not in reply.headers
            assert "access-control-allow-credentials" not in reply.headers


@attack
def page_in_a_frame(target: Target) -> None:
    for path in ("/", "/api/page", "/static/client.js", "/nothing"):
        reply = get(target, path)
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"


@attack
def tasks_of_a_token_without_the_scope(target: Target) -> None:
    reply = get(target, "/api/page", bearer(target, scope="watch"))
    assert json.loads(reply.body)["tasks"] == []
    assert get(target, "/api/page").status == 401
    reply = get(target, f"/api/jobs/{uuid.uuid4()}", bearer(target, scope="cancel"))
    assert reply.status == 403


@attack
def metrics_and_what_operators_have(target: Target) -> None:
    for path in (
        "/metrics",
        "/debug",
        "/console",
        "/admin",
        "/.env",
        "/.git/config",
        "/server-status",
    ):
        assert get(target, path).status == 404
    for path in ("/healthz", "/readyz"):
        body = get(target, path).body.decode()
        assert not {"amqp", "password", "127.0.0.1", target.bridge.settings.keys[0]} & set(
            body.replace('"', " ").replace("/", " ").replace(":", " ").split()
        )


@attack
def answers_that_somebody_else_keeps(target: Target) -> None:
    """What is one client's is not for the caches between."""
    for path in ("/api/page", f"/api/jobs/{target.job}"):
        assert "public" not in get(target, path, bearer(target)).headers.get("cache-control", "")


@attack
def writes_to_what_is_only_read(target: Target) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "LINK"):
        for path in ("/api/page", f"/api/jobs/{target.job}", "/healthz", "/static/client.js", "/"):
            reply = get(target, path, bearer(target), "Content-Length: 0", method=method)
            assert reply.status in REFUSED, (method, path)
