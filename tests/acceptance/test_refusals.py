"""What a client may not do gets one clear answer, and never a traceback."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid

import pytest
import socketio

from bridge import tokens
from support.wait import until

OTHER_KEY = "another key that is long enough but not the server's"


@pytest.fixture
def owner():
    return f"user-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def connect(stack):
    """Connect clients to ``/jobs``; all are ended with the test."""
    clients = []

    def connect(token):
        clients.append(socketio.SimpleClient(reconnection=False, handle_sigint=False))
        auth = {"token": token}
        clients[-1].connect(stack.url, namespace="/jobs", auth=auth, transports=["websocket"])
        return clients[-1]

    yield connect
    for client in clients:
        client.disconnect()


def test_a_token_that_is_forged_expired_or_missing_is_refused(stack, connect):
    expired = tokens.sign(stack.settings.keys, owner="me", clock=lambda: time.time() - 3600)
    forged = tokens.sign([OTHER_KEY], owner="me")
    for token in (expired, forged, "rubbish", "", None, 7, {"a": 1}):
        with pytest.raises(socketio.exceptions.ConnectionError):
            connect(token)
        sentence = refusal(stack, token)
        assert sentence["code"] == "unauthorized"
        assert "token" in sentence["message"]


def refusal(stack, token):
    """Return what a plain client is told when it is refused."""
    told = []
    client = socketio.Client(reconnection=False, handle_sigint=False)
    client.on("connect_error", told.append, namespace="/jobs")
    with pytest.raises(socketio.exceptions.ConnectionError):
        client.connect(
            stack.url, namespaces=["/jobs"], auth={"token": token}, transports=["websocket"]
        )
    client.shutdown()
    return told[0]["data"]


def test_a_job_of_somebody_else_and_a_missing_one_get_the_same_answer(stack, connect, owner):
    job = stack.bridge.enqueue("support.add", [1, 1], owner=owner)
    until(lambda: stack.bridge.status(job.id)["state"] == "succeeded", 20, "the job to end")
    stranger = connect(stack.bridge.token(owner="stranger", scope="watch cancel"))
    for name in ("watch", "cancel"):
        foreign = stranger.call(name, {"job": job.id})
        missing = stranger.call(name, {"job": (nowhere := str(uuid.uuid4()))})
        assert foreign["error"]["code"] == missing["error"]["code"] == "not_found"
        assert foreign["error"]["message"].replace(job.id, nowhere) == missing["error"]["message"]


def test_an_owner_sees_no_jobs_of_others(stack, connect, owner):
    job = stack.bridge.enqueue("support.add", [1, 1], owner=owner)
    until(lambda: stack.bridge.status(job.id)["state"] == "succeeded", 20, "the job to end")
    mine = connect(stack.bridge.token(owner=owner)).call("jobs", {})
    assert [one["job"] for one in mine["jobs"]] == [job.id]
    assert connect(stack.bridge.token(owner="stranger")).call("jobs", {})["jobs"] == []


def test_events_reach_those_who_may_see_them_and_nobody_else(stack, connect, owner):
    stranger = connect(stack.bridge.token(owner="stranger"))
    stranger.call("jobs", {})
    mine = connect(stack.bridge.token(owner=owner))
    mine.call("jobs", {})
    job = stack.bridge.enqueue("support.add", [1, 1], owner=owner)
    states = set()
    while "succeeded" not in states:
        name, event = mine.receive(timeout=20)
        assert (name, event["job"]) == ("job", job.id)
        states.add(event["type"])
    with pytest.raises(socketio.exceptions.TimeoutError):
        stranger.receive(timeout=0.2)


@pytest.mark.parametrize(
    ("scope", "request_name", "payload"),
    [
        ("watch", "enqueue", {"name": "support.add"}),
        ("watch", "cancel", {"job": "x"}),
        ("cancel", "watch", {"job": "x"}),
        ("enqueue", "jobs", {}),
    ],
)
def test_a_scope_that_the_token_lacks_is_forbidden(stack, connect, scope, request_name, payload):
    client = connect(stack.bridge.token(owner="me", scope=scope))
    assert client.call(request_name, payload)["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"name": "os.system"}, "task_not_allowed"),
        ({"name": "support.add", "args": "12"}, "bad_request"),
        ({"name": "support.add", "kwargs": [1]}, "bad_request"),
        ({"name": 7}, "bad_request"),
        ({}, "bad_request"),
        ([], "bad_request"),
        ("support.add", "bad_request"),
        (None, "bad_request"),
    ],
)
def test_a_malformed_or_unlisted_request_is_answered(stack, connect, payload, code):
    client = connect(stack.bridge.token(owner="me", scope="enqueue"))
    assert client.call("enqueue", payload)["error"]["code"] == code


@pytest.mark.parametrize("limit", [0, -1, 10_000, "5", 1.5, True])
def test_a_limit_out_of_bounds_is_answered(stack, connect, limit):
    client = connect(stack.bridge.token(owner="me"))
    assert client.call("jobs", {"limit": limit})["error"]["code"] == "bad_request"


def test_who_enqueues_over_the_socket_is_watching(stack, connect, owner):
    client = connect(stack.bridge.token(owner=owner, scope="enqueue watch"))
    answer = client.call("enqueue", {"name": "support.add", "args": [20, 22]})
    assert answer["ok"]
    assert answer["snapshot"]["name"] == "support.add"
    # A worker may begin, or be done, before the broker has confirmed the task and the answer comes.
    told = answer["events"]
    while not told or told[-1]["type"] != "succeeded":
        told.append(client.receive(timeout=20)[1])
        assert told[-1]["job"] == answer["job"]
    assert told[-1]["data"]["result"] == 42


def test_a_cancel_of_what_has_ended_says_so(stack, connect, owner):
    job = stack.bridge.enqueue("support.add", [1, 1], owner=owner)
    until(lambda: stack.bridge.status(job.id)["state"] == "succeeded", 20, "the job to end")
    client = connect(stack.bridge.token(owner=owner, scope="cancel"))
    assert client.call("cancel", {"job": job.id})["error"] == {
        "code": "ended",
        "message": "the job has already succeeded",
        "temporary": False,
    }


def test_a_connection_ends_when_its_token_does(stack, connect):
    client = connect(stack.bridge.token(owner="me", ttl=1.5))
    assert client.call("jobs", {})["ok"]
    until(lambda: not client.connected, 30, "the server to end the connection")


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (None, 401, "unauthorized"),
        ("Bearer rubbish", 401, "unauthorized"),
        ("Basic bWU6bWU=", 401, "unauthorized"),
        ("stranger", 404, "not_found"),
        ("enqueue", 403, "forbidden"),
    ],
)
def test_http_refuses_with_a_status_and_a_code(stack, header, status, code):
    if header == "stranger":
        header = f"Bearer {stack.bridge.token(owner='stranger')}"
    elif header == "enqueue":
        header = f"Bearer {stack.bridge.token(owner='me', scope='enqueue')}"
    request = urllib.request.Request(f"{stack.url}/api/jobs/{uuid.uuid4()}")
    if header:
        request.add_header("Authorization", header)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    with refused.value as answer:
        assert (answer.status, json.load(answer)["error"]["code"]) == (status, code)


def test_a_token_in_a_url_is_not_taken_unless_that_was_asked_for(stack):
    job = stack.bridge.enqueue("support.add", [1, 2], owner="me")
    url = f"{stack.url}/api/progress/{job.id}"
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        urllib.request.urlopen(f"{url}?token={job.token}", timeout=10)
    with caught.value as answer:
        assert "TASKBRIDGE_URL_TOKENS=1" in json.load(answer)["error"]["message"]
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {job.token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["state"] in ("PENDING", "STARTED", "SUCCESS")


@pytest.mark.parametrize("stack", ["rabbitmq"], indirect=True)
def test_cursors_that_the_stream_never_reaches_hold_a_client_up_once(stack, connect, owner):
    job = stack.bridge.enqueue("support.add", [1, 2], owner=owner)
    client = connect(job.token)
    begin = client.call("watch", {"job": job.id})
    channel = stack.settings.channel
    took = []
    for number in range(3):
        begun = time.monotonic()
        cursor = f"{channel}.stream:{10**12 + number}.1"
        answer = client.call("watch", {"job": job.id, "cursor": cursor}, timeout=15)
        took.append(time.monotonic() - begun)
        assert begin["ok"]
        assert answer["ok"]
        assert answer["recovered"] is False
    assert took[0] > 5
    assert max(took[1:]) < 5
