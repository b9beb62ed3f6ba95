"""The server keeps to the protocols of Engine.IO 4 and Socket.IO 5, section by section.

The cases are those of the protocols' documents that python-socketio's own server passes, on the
namespace ``/jobs``. Left out are two that the server refuses on purpose: it serves no main
namespace, and takes no binary packet.
"""

from __future__ import annotations

import json

import pytest

from support.raw import Raw
from support.stack import Stack

POLLING = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that allows long polling, too."""
    stack = Stack(tmp_path_factory.mktemp("stack"), TASKBRIDGE_TRANSPORTS="websocket,polling")
    try:
        stack.start_server()
        yield stack
    finally:
        stack.stop()


@pytest.fixture
def client(server):
    """A connection over TCP, on which nothing was sent."""
    with Raw("127.0.0.1", server.port) as raw:
        yield raw


@pytest.fixture
def opened(client):
    """A WebSocket of Engine.IO, whose session has begun."""
    return client.open()


@pytest.fixture
def connected(opened, server):
    """A client of the namespace ``/jobs``."""
    assert opened.connect(server.token(owner="ada")).startswith('40/jobs,{"sid":"')
    return opened


# Engine.IO: handshake


def test_a_websocket_opens_a_session(client):
    assert client.upgrade().status == 101
    kind, said = (text := client.message())[0], json.loads(text[1:])
    assert kind == "0"
    assert said.keys() == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert said["upgrades"] == []


def test_long_polling_opens_a_session(client):
    reply = client.request(f"GET {POLLING} HTTP/1.1")
    assert reply.status == 200
    assert reply.body.startswith(b"0{")
    assert json.loads(reply.body[1:])["upgrades"] == ["websocket"]


@pytest.mark.parametrize(
    "path",
    [
        "/socket.io/?transport=polling",
        "/socket.io/?EIO=abc&transport=polling",
        "/socket.io/?EIO=4&transport=abc",
    ],
)
def test_a_session_of_no_version_or_transport_is_refused(client, path):
    assert client.request(f"GET {path} HTTP/1.1").status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_session_that_is_opened_by_another_method_is_refused(client, method):
    assert client.request(f"{method} {POLLING} HTTP/1.1", "Content-Length: 0").status in (400, 405)


@pytest.mark.parametrize(
    "path", ["/socket.io/?transport=websocket", "/socket.io/?EIO=abc&transport=websocket"]
)
def test_a_websocket_of_no_version_opens_no_session(client, path):
    assert client.upgrade(path=path).status in (0, 400)


# Engine.IO: close, upgrade


def test_a_session_that_is_closed_over_a_websocket_ends(opened):
    opened.say("1")
    opened.await_end()


def polled(server):
    """Return the path of a session that long polling has opened."""
    with Raw("127.0.0.1", server.port) as raw:
        return f"{POLLING}&sid={json.loads(raw.request(f'GET {POLLING} HTTP/1.1').body[1:])['sid']}"


def test_a_session_that_is_closed_over_long_polling_ends(server):
    path = polled(server)
    with Raw("127.0.0.1", server.port) as raw:
        body = b"1"
        reply = raw.request(f"POST {path} HTTP/1.1", "Content-Length: 1", body=body)
        assert (reply.status, reply.body.lower()) == (200, b"ok")
    with Raw("127.0.0.1", server.port) as raw:
        assert raw.request(f"GET {path} HTTP/1.1").status == 400


def test_long_polling_is_upgraded_to_a_websocket(server, client):
    path = polled(server)
    assert client.upgrade(path=path.replace("polling", "websocket")).status == 101
    client.say("2probe")
    assert client.message() == "3probe"
    client.say("5")
    answer = client.connect(server.token(owner="ada"))
    if answer == "6":  # a packet without meaning, which ends a poll where one waits
        answer = client.message()
    assert answer.startswith('40/jobs,{"sid":"')
    with Raw("127.0.0.1", server.port) as raw:
        assert raw.request(f"GET {path} HTTP/1.1").status == 400


def test_several_packets_in_one_payload_are_each_read(server):
    path = polled(server)
    auth = json.dumps({"token": server.token(owner="ada")})
    body = f'40/jobs,{auth}\x1e42/jobs,7["counts",{{}}]'.encode()
    with Raw("127.0.0.1", server.port) as raw:
        raw.request(f"POST {path} HTTP/1.1", f"Content-Length: {len(body)}", body=body)
    answered = b""
    while b"43/jobs,7[" not in answered:
        with Raw("127.0.0.1", server.port) as raw:
            reply = raw.request(f"GET {path} HTTP/1.1")
            assert reply.status == 200
            answered += reply.body


# Socket.IO: connection to a namespace


def test_a_namespace_is_connected_to_with_a_payload(connected):
    assert connected.sid


def test_an_unknown_namespace_is_refused(opened):
    opened.say("40/random,")
    assert opened.message().startswith("44/random,")


def test_a_connection_without_a_token_is_refused_with_a_reason(opened):
    opened.say("40/jobs,")
    answer = opened.message()
    assert answer.startswith("44/jobs,")
    assert json.loads(answer.partition(",")[2])["message"]


def test_an_invalid_handshake_ends_the_connection(opened):
    opened.say("4abc")
    opened.await_end()


def test_a_connection_without_a_handshake_ends(opened):
    opened.await_end(30)


# Socket.IO: disconnection


def test_a_client_that_disconnects_from_the_namespace_gets_nothing_more(connected):
    connected.say("41/jobs,")
    connected.say('42/jobs,1["counts",{}]')
    connected.await_end()


# Socket.IO: messages and acknowledgements


@pytest.mark.parametrize("number", [0, 1, 456])
def test_an_event_with_an_id_is_acknowledged_with_that_id(connected, number):
    connected.say(f'42/jobs,{number}["counts",{{}}]')
    answer = connected.message()
    assert answer.startswith(f"43/jobs,{number}[")
    assert json.loads(answer[len(f"43/jobs,{number}") :])


def test_an_event_without_an_id_is_not_acknowledged(connected):
    connected.say('42/jobs,["counts",{}]')
    connected.say('42/jobs,9["counts",{}]')
    assert connected.message().startswith("43/jobs,9[")


@pytest.mark.parametrize("packet", ["4abc", "42/jobs,{}", '42/jobs,abc["counts",{}]'])
def test_an_invalid_packet_ends_the_connection(connected, packet):
    connected.say(packet)
    connected.await_end()
