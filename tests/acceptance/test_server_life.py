"""A server's life: what it logs and counts, and how it ends."""

from __future__ import annotations

import json
import re
import urllib.request

import pytest
import socketio

from bridge.client.socket_client import SocketClient
from bridge.protocol.event import NAMESPACE
from support.event_stream import EventStreamClient
from support.ports import free_port
from support.stack import MODE, OWN_SERVERS, Stack
from support.wait import until
from support.watched import Watched

SPREAD = 3.0


@pytest.fixture(scope="module")
def stack(request, rabbitmq, tmp_path_factory):
    """A server of the mode of all tests, or of the mode that a test names."""
    port = free_port()
    variables = {
        "TASKBRIDGE_HEALTH_PORT": str(port),
        "TASKBRIDGE_LOG_FORMAT": "json",
        "TASKBRIDGE_DRAIN_SPREAD": str(SPREAD),
    }
    stack = Stack(tmp_path_factory.mktemp("life"), rabbitmq.new_vhost(), **variables)
    stack.health = f"http://127.0.0.1:{port}"
    stack.mode = getattr(request, "param", MODE)
    try:
        stack.server = stack.start_server()
        stack.start_worker()
        yield stack
    finally:
        stack.stop()


def figures(stack):
    with urllib.request.urlopen(f"{stack.health}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def logged(stack):
    """Return what the server said of its clients."""
    lines = [json.loads(line) for line in stack.server.output.splitlines() if line.startswith("{")]
    return [line for line in lines if line["logger"] == "socket_server.watching.clients"]


def test_a_job_is_counted_from_its_emitter_to_its_watcher(stack):
    # Long enough for what its emitter tells of itself every five seconds to be delivered.
    watched = Watched(stack, "support.work", 7)
    assert watched.end()["state"] == "succeeded"
    found = figures(stack)
    assert found["taskbridge_events_read_total"] >= 3
    assert found["taskbridge_events_delivered_total"] >= 1
    assert found['taskbridge_jobs_ended_total{state="succeeded",task="support.work"}'] == 1
    assert found['taskbridge_job_run_seconds_count{task="support.work"}'] == 1
    assert found['taskbridge_jobs{state="succeeded",task="support.work"}'] == 1
    assert found["taskbridge_listener_alive"] == found["taskbridge_ready"] == 1
    assert found["taskbridge_replay_progress"] == 1
    assert 0 <= found["taskbridge_listener_lag_seconds"] < 5
    assert [skew for name, skew in found.items() if "clock_skew" in name] == [0.0]
    # Of a service that enqueues and of a worker; each tells when it begins, and later of more.
    until(lambda: figures(stack)["taskbridge_delivery_seconds_count"] >= 1, 30, "a sample")


def test_what_an_emitter_counts_is_for_operators_alone(stack):
    watched = Watched(stack, "support.talk", 3)
    watched.end()
    assert not [event for event in watched.told if "emitter" in event["data"]]


def test_each_client_is_a_line_in_the_log_and_its_token_is_not(stack):
    token, other = stack.token(owner="me"), stack.token(owner="somebody")
    job = stack.bridge.enqueue("support.add", [1, 1], owner="me")
    with socketio.SimpleClient(handle_sigint=False) as client:
        connect(client, stack, token)
        assert client.call("watch", {"job": job.id}, timeout=15)["ok"]
    with socketio.SimpleClient(handle_sigint=False) as client:
        connect(client, stack, other)
        assert not client.call("watch", {"job": job.id}, timeout=15)["ok"]
    with (
        pytest.raises(socketio.exceptions.ConnectionError),
        socketio.SimpleClient(reconnection=False, handle_sigint=False) as client,
    ):
        connect(client, stack, "forged")

    def told():
        return {(line["message"], line.get("owner"), line.get("code")) for line in logged(stack)}

    wanted = {
        ("connect", "me", None),
        ("watch", "me", None),
        ("disconnect", "me", None),
        ("refuse", "somebody", "not_found"),
        ("refuse", None, "unauthorized"),
    }
    until(lambda: wanted <= told(), 30, "a line for each")
    assert token not in stack.server.output
    assert "forged" not in stack.server.output


def connect(client, stack, token):
    client.connect(stack.url, namespace=NAMESPACE, auth={"token": token}, transports=["websocket"])


@pytest.mark.parametrize("stack", OWN_SERVERS, indirect=True)
def test_a_server_that_stops_delivers_until_each_client_is_sent_away_and_then_ends(stack):
    job = stack.bridge.enqueue("support.work", [SPREAD + 10], owner="me")
    client, heard = SocketClient(reconnection=False), []
    client.on("draining", lambda told: heard.append(("draining", told)), namespace=NAMESPACE)
    client.on("job", lambda event: heard.append((event["type"], event)), namespace=NAMESPACE)
    client.on("disconnect", lambda *_: heard.append(("gone", None)), namespace=NAMESPACE)
    client.connect(
        stack.url,
        namespaces=[NAMESPACE],
        auth={"token": stack.token(owner="me")},
        transports=["websocket"],
    )
    stream = EventStreamClient(stack.port, f"/api/jobs/{job.id}/events", token=job.token)
    streamed = stream.in_background()
    try:
        client.call("watch", {"job": job.id}, namespace=NAMESPACE, timeout=15)
        until(lambda: "progress" in dict(heard), 15, "the job to run")
        until(lambda: len(streamed) > 1, 15, "events of the stream")
        assert figures(stack)["taskbridge_event_streams"] == 1
        assert figures(stack)["taskbridge_clients"] == 2
        stack.server.signal(15)
        until(lambda: "draining" in dict(heard), 5, "to be told")
        after = dict(heard)["draining"]["after"]
        assert 0 <= after <= SPREAD
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            urllib.request.urlopen(f"{stack.health}/readyz", timeout=5)
        with caught.value as answer:
            assert "draining" in json.load(answer)["reason"]
        until(lambda: "gone" in dict(heard), SPREAD + 5, "to be sent away")
    finally:
        client.disconnect()
        stack.bridge.cancel(job.id)
    kinds = [kind for kind, _ in heard]
    if after > 1:
        assert "progress" in kinds[kinds.index("draining") :]
    assert stack.server.wait(10) == 0
    assert re.search(r"2 clients were sent away", stack.server.output)
    until(lambda: stream.over, 30, "the end of the stream")
    [notice] = [one for one in streamed if one.event == "draining"]
    assert 0 <= notice.data["after"] <= SPREAD
    assert stream.flaw is None, "it ends as an answer does"
