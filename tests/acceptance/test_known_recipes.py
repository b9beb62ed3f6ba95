"""What people know of python-socketio keeps working on this server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid

import pytest
import requests
import socketio

from bridge.protocol.event import Event
from support.stack import Stack


def start(home, url=None, **variables):
    """Start the application's server on a broker."""
    stack = Stack(home, url, **variables)
    server = stack.start("server", sys.executable, "-m", "support.recipes_server")
    server.until(stack.healthy, 30, "the server to be healthy")
    return stack


@pytest.fixture(scope="module")
def application(broker, tmp_path_factory):
    stack = start(tmp_path_factory.mktemp("recipes"), broker)
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def on_redis(redis_server, tmp_path_factory):
    stack = start(tmp_path_factory.mktemp("recipes"), redis_server.url)
    yield stack
    stack.stop()


@pytest.fixture
def connect():
    """Connect clients of the application's namespace; all are ended with the test."""
    clients = []
    # python-engineio leaves the connections of a session that it has made itself open.
    session = requests.Session()

    def connect(stack, namespace="/app", transports=("websocket",), auth=None):
        client = socketio.SimpleClient(
            reconnection=False, handle_sigint=False, http_session=session
        )
        clients.append(client)
        client.connect(stack.url, namespace=namespace, auth=auth, transports=list(transports))
        return client

    yield connect
    for client in clients:
        client.disconnect()
    session.close()


def welcomed(client):
    """Return the sid that the server greeted a client with."""
    name, data = client.receive(timeout=10)
    assert name == "welcome"
    return data["sid"]


def silent(client):
    """Whether nothing more has come for a client than an echo that it asks for."""
    client.emit("to_one", (client.sid, "end"))
    return client.receive(timeout=10) == ["news", "end"]


def test_connect_and_a_refused_connect(application, connect):
    client = connect(application)
    assert welcomed(client) == client.sid
    with pytest.raises(socketio.exceptions.ConnectionError):
        connect(application, auth={"name": "nobody"})


def test_disconnect_is_seen_by_the_application(application, connect):
    first, second = connect(application), connect(application)
    gone = welcomed(second)
    welcomed(first)
    second.disconnect()
    assert first.receive(timeout=10) == ["left", gone]


def test_a_custom_event_with_arguments_is_acknowledged(application, connect):
    answer = connect(application).call("echo", (1, {"a": [2]}, "three"))
    assert list(answer) == [1, {"a": [2]}, "three"]


def test_binary_data_passes_in_an_applications_namespace(application, connect):
    assert connect(application).call("echo", b"\x00\xff") == b"\x00\xff"


def test_emit_to_all(application, connect):
    clients = [connect(application) for _ in range(3)]
    for client in clients:
        welcomed(client)
    clients[0].emit("to_all", "hello")
    assert all(client.receive(timeout=10) == ["news", "hello"] for client in clients)


def test_emit_to_one_client(application, connect):
    first, second = connect(application), connect(application)
    target = welcomed(first)
    welcomed(second)
    second.emit("to_one", (target, "psst"))
    assert first.receive(timeout=10) == ["news", "psst"]
    assert silent(second)


def test_rooms_are_entered_listed_and_left(application, connect):
    inside, outside = connect(application), connect(application)
    sid = welcomed(inside)
    welcomed(outside)
    room = f"room-{uuid.uuid4().hex}"
    assert inside.call("enter", room) == sorted([sid, room])
    outside.emit("to_room", (room, "in here", False))
    assert inside.receive(timeout=10) == ["news", "in here"]
    assert silent(outside)
    assert inside.call("leave", room) == [sid]
    outside.emit("to_room", (room, "nobody hears", False))
    assert silent(inside)


def test_skip_sid_leaves_one_out(application, connect):
    first, second = connect(application), connect(application)
    room = f"room-{uuid.uuid4().hex}"
    for client in (first, second):
        welcomed(client)
        client.call("enter", room)
    first.emit("to_room", (room, "not to me", True))
    assert second.receive(timeout=10) == ["news", "not to me"]
    assert silent(first)


def test_send_is_a_message_event(application, connect):
    client = connect(application)
    welcomed(client)
    client.emit("send_all", "plain")
    assert client.receive(timeout=10) == ["message", "plain"]


def test_the_python_client_with_on_and_wait(application):
    heard = []
    client = socketio.Client(reconnection=False, handle_sigint=False)

    @client.on("connect", namespace="/app")
    def on_connect():
        client.emit("to_all", "over", namespace="/app")

    @client.on("news", namespace="/app")
    def on_news(data):
        heard.append(data)
        threading.Thread(target=client.disconnect).start()

    client.connect(application.url, namespaces=["/app"], transports=["websocket"])
    client.wait()
    assert heard == ["over"]


#: A stock write-only manager in a process of its own.
EMITTER = """
import sys, json, socketio
kind, url, channel, arguments = sys.argv[1:]
manager = getattr(socketio, kind)(url, channel=channel, write_only=True)
manager.emit(**json.loads(arguments))
"""


def emit_from_elsewhere(kind, stack, **arguments):
    command = [sys.executable, "-c", EMITTER, kind, stack.settings.broker]
    command += [stack.settings.channel, json.dumps(arguments)]
    subprocess.run(command, check=True, timeout=30)


@pytest.mark.parametrize(
    ("kind", "where"), [("KombuManager", "rabbitmq"), ("RedisManager", "redis")]
)
def test_a_stock_manager_emits_from_another_process(kind, where, request, tmp_path, connect):
    if where == "redis":
        stack = request.getfixturevalue("on_redis")
    else:
        url = request.getfixturevalue("rabbitmq").new_vhost()
        stack = start(tmp_path, url)
    try:
        client = connect(stack)
        welcomed(client)
        emit_from_elsewhere(kind, stack, event="news", data={"a": 1}, namespace="/app")
        assert client.receive(timeout=10) == ["news", {"a": 1}]
        assert_a_stock_manager_reaches_a_watcher(kind, stack, connect)
    finally:
        if where != "redis":
            stack.stop()


def assert_a_stock_manager_reaches_a_watcher(kind, stack, connect):
    """An event that a stock manager emits to a job's room comes to who watches the job."""
    job = str(uuid.uuid4())
    watching = connect(stack, "/jobs", auth={"token": stack.token(owner="ada")})
    assert watching.call("jobs", {})["jobs"] == []
    event = Event(job=job, task=job, type="started", at=time.time(), owner="ada", run=1)
    arguments = {"event": "job", "namespace": "/jobs", "room": f"job:{job}"}
    emit_from_elsewhere(kind, stack, data=event.encode(), **arguments)
    name, received = watching.receive(timeout=10)
    assert (name, received["job"], received["type"]) == ("job", job, "started")


def test_long_polling_works_when_it_is_switched_on(tmp_path, connect):
    stack = start(tmp_path, TASKBRIDGE_TRANSPORTS="websocket,polling")
    try:
        client = connect(stack, transports=["polling"])
        welcomed(client)
        assert client.call("echo", "polled") == "polled"
    finally:
        stack.stop()


def test_long_polling_is_refused_when_it_is_not(application, connect):
    with pytest.raises(socketio.exceptions.ConnectionError):
        connect(application, transports=["polling"])


def test_a_push_reaches_a_room_and_everyone_of_the_namespace(application, connect):
    inside, outside = connect(application), connect(application)
    for client in (inside, outside):
        welcomed(client)
    room = f"room-{uuid.uuid4().hex}"
    inside.call("enter", room)
    application.bridge.push("news", "some", room=room, namespace="/app")
    application.bridge.push("news", "all", everyone=True, namespace="/app")
    assert [inside.receive(timeout=10)[1] for _ in range(2)] == ["some", "all"]
    assert outside.receive(timeout=10) == ["news", "all"]
