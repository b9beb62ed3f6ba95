"""An application's own events reach those they are for."""

from __future__ import annotations

import uuid

import pytest
import socketio

from bridge.bus.write_only_manager import new_write_only_manager
from bridge.errors import EnqueueError
from support.ports import free_port


@pytest.fixture
def connect(stack):
    """Connect clients to ``/jobs``; all are ended with the test."""
    clients = []

    def connect(**claims):
        clients.append(socketio.SimpleClient(reconnection=False, handle_sigint=False))
        auth = {"token": stack.token(**claims)}
        clients[-1].connect(stack.url, namespace="/jobs", auth=auth, transports=["websocket"])
        return clients[-1]

    yield connect
    for client in clients:
        client.disconnect()


def test_a_push_to_an_owner_reaches_that_owner_alone(stack, connect):
    owner = uuid.uuid4().hex
    mine, other = connect(owner=owner), connect(owner="other")
    for client in (mine, other):
        client.call("jobs", {})
    stack.bridge.push("notice", {"text": "hello"}, owner=owner)
    assert mine.receive(timeout=10) == ["notice", {"text": "hello"}]
    with pytest.raises(socketio.exceptions.TimeoutError):
        other.receive(timeout=0.2)


def test_a_push_to_a_job_reaches_its_watchers(stack, connect):
    job = stack.bridge.enqueue("support.work", [2.0], owner=uuid.uuid4().hex)
    client = connect(jobs=[job.id])
    assert client.call("watch", {"job": job.id})["ok"]
    stack.bridge.push("notice", [1, 2], job=job.id)
    while (received := client.receive(timeout=10))[0] == "job":
        assert received[1]["type"] != "succeeded"
    assert received == ["notice", [1, 2]]


@pytest.mark.parametrize(
    "destination",
    [{}, {"owner": "a", "job": "b"}, {"everyone": True, "room": "r"}, {"owner": ""}],
    ids=["none", "two", "a room and everyone", "nobody"],
)
def test_a_push_needs_exactly_one_destination(stack, destination):
    with pytest.raises(EnqueueError, match="destination"):
        stack.bridge.push("notice", {}, **destination)


@pytest.mark.parametrize("data", [float("nan"), {1, 2}, "x" * 70_000])
def test_what_cannot_travel_is_refused_at_once(stack, data):
    with pytest.raises(EnqueueError, match="event's data"):
        stack.bridge.push("notice", data, owner="ada")


def test_the_protocols_own_names_are_refused(stack):
    with pytest.raises(EnqueueError, match="job"):
        stack.bridge.push("job", {}, owner="ada")


@pytest.fixture
def publish(stack):
    """Publish messages as an emitter does, or python-socketio's own manager, which gives no id."""
    writer = new_write_only_manager(stack.settings)
    yield lambda text, **more: writer.emit("notice", text, namespace="/jobs", **more)
    writer.close()


def test_of_a_push_that_is_published_again_a_client_gets_one(stack, connect, publish):
    owner = uuid.uuid4().hex
    client = connect(owner=owner)
    assert client.call("jobs", {})["ok"]
    for text, id in [("a", "1"), ("a", "1"), ("b", "2"), ("a", "1"), ("c", None), ("c", None)]:
        publish(text, room=f"owner:{owner}", id=id and owner + id)
    publish("end", room=f"owner:{owner}")
    received = [client.receive(timeout=10)[1] for _ in range(5)]
    assert received == ["a", "b", "c", "c", "end"]


def test_a_server_that_starts_between_two_copies_of_a_push_drops_the_second(stacks):
    stack, owner = stacks("rabbitmq"), uuid.uuid4().hex
    writer, port = new_write_only_manager(stack.settings), free_port()
    told = {"namespace": "/jobs", "room": f"owner:{owner}"}
    writer.emit("notice", "a", **told, id=owner)
    command = stack.server_command(port)
    server = stack.start("second", *command, TASKBRIDGE_PORT=str(port))
    server.await_output(stack.listening)
    client = socketio.SimpleClient(reconnection=False, handle_sigint=False)
    auth = {"token": stack.token(owner=owner)}
    client.connect(
        f"http://127.0.0.1:{port}", namespace="/jobs", auth=auth, transports=["websocket"]
    )
    assert client.call("jobs", {})["ok"]
    writer.emit("notice", "a", **told, id=owner)
    writer.emit("notice", "b", **told)
    assert client.receive(timeout=10) == ["notice", "b"]
    client.disconnect()
    writer.close()
    server.stop()
