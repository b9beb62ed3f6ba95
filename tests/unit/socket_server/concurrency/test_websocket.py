"""The WebSocket of the server, with wsproto's client at the other end."""

from __future__ import annotations

import contextlib
import socket

import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import RemoteProtocolError

from socket_server.concurrency.websocket import WebSocket, WebSocketWSGI
from socket_server.concurrency.wsgi import CONNECTION, DETACHED

#: The example of RFC 6455, section 1.3.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class Client:
    """The client's end of a connection."""

    def __init__(self, end):
        self.socket, self.protocol = end, Connection(ConnectionType.CLIENT)

    def say(self, *events):
        for event in events:
            self.socket.sendall(self.protocol.send(event))

    def heard(self):
        self.protocol.receive_data(self.socket.recv(65536))
        return list(self.protocol.events())


@pytest.fixture
def ends():
    near, far = socket.socketpair()
    near.settimeout(10)
    far.settimeout(10)
    with near, far:
        yield near, far


@pytest.fixture
def websocket(ends):
    return WebSocket(ends[0])


@pytest.fixture
def client(ends):
    return Client(ends[1])


def test_messages_come_in_order_as_text_and_bytes_however_they_are_fragmented(websocket, client):
    client.say(
        TextMessage("gr", message_finished=False),
        Ping(b"in between"),
        TextMessage("ün", message_finished=True),
        BytesMessage(b"a", message_finished=False),
        BytesMessage(b"b" * 10_000),
        TextMessage(""),
    )
    assert [websocket.wait() for _ in range(3)] == ["grün", b"a" + b"b" * 10_000, ""]
    assert client.heard() == [Pong(b"in between")]


def test_what_is_sent_arrives(websocket, client):
    websocket.send("text")
    websocket.send(b"bytes")
    assert client.heard() == [TextMessage("text"), BytesMessage(b"bytes")]


def test_a_client_that_says_goodbye_gets_its_code_back_and_is_not_read_any_more(websocket, client):
    client.say(TextMessage("last"), CloseConnection(4001, "enough"))
    assert websocket.wait() == "last"
    assert websocket.wait() is None
    [goodbye] = client.heard()
    assert (goodbye.code, goodbye.reason) == (4001, "enough")
    with pytest.raises(BrokenPipeError):
        websocket.send("late")


@pytest.mark.parametrize(
    "frame", [b"\x81\x01x", b"\x83\x80\0\0\0\0", b"\x80\x80\0\0\0\0", b"\x81\x81\0\0\0\0\xff"]
)
def test_a_malformed_frame_ends_the_connection(websocket, client, frame):
    client.socket.sendall(frame)
    assert websocket.wait() is None
    [goodbye] = client.heard()
    assert goodbye.code in (1002, 1007)


def test_a_client_that_hangs_up_is_gone(websocket, client):
    client.socket.close()
    assert websocket.wait() is None


def test_the_end_is_said_once_and_closes_the_socket(websocket, client):
    websocket.close()
    websocket.close()
    [goodbye] = client.heard()
    assert goodbye.code == 1000
    assert client.socket.recv(1) == b""
    assert websocket.socket.fileno() == -1


def test_bytes_that_come_in_pieces_are_taken_without_waiting(websocket, client):
    sent = [TextMessage("one"), Ping(b"ping"), BytesMessage(b"two"), CloseConnection(1000)]
    data = b"".join(map(client.protocol.send, sent))
    heard = []
    for at in range(len(data)):
        websocket.receive(data[at : at + 1])
        assert websocket.unread == (at in (8, 18, 27, len(data) - 1)), at
        if websocket.unread:
            websocket.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                heard.append(websocket.wait())
    assert heard == ["one", b"two", None]
    [pong, goodbye] = client.heard()
    assert (pong, goodbye.code) == (Pong(b"ping"), 1000)


def request(connection, **changes):
    upgrade = {"HTTP_CONNECTION": "keep-alive, Upgrade", "HTTP_SEC_WEBSOCKET_KEY": KEY}
    return {CONNECTION: connection, **upgrade, **changes}


def test_a_handshake_is_answered_and_the_handler_served(ends, client):
    def handle(websocket):
        websocket.send("hello")
        return []

    assert WebSocketWSGI(handle)(request(ends[0]), None) == []
    head, _, rest = client.socket.recv(65536).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: " + ACCEPT in head
    client.protocol.receive_data(rest)
    assert [type(event) for event in client.protocol.events()] == [TextMessage, CloseConnection]


@pytest.mark.parametrize(
    "wrong",
    [
        {"HTTP_CONNECTION": "close"},
        {"HTTP_SEC_WEBSOCKET_KEY": ""},
        {"HTTP_SEC_WEBSOCKET_KEY": "short"},
        {"HTTP_SEC_WEBSOCKET_KEY": "\xff" * 24},
        {"HTTP_SEC_WEBSOCKET_KEY": KEY + "\r\nX: y"},
    ],
)
def test_what_is_no_handshake_is_refused_before_a_byte_is_sent(ends, wrong):
    with pytest.raises(RemoteProtocolError):
        WebSocketWSGI(print)(request(ends[0], **wrong), None)
    ends[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        ends[1].recv(1)


def test_a_websocket_that_goes_on_is_not_closed_with_its_request(ends, client):
    environ = request(ends[0])
    kept = []

    def handle(websocket):
        environ[DETACHED] = kept.append(websocket)
        return []

    assert WebSocketWSGI(handle)(environ, None) == []
    client.socket.recv(65536)
    kept[0].send("later")
    assert client.heard() == [TextMessage("later")]


def test_a_client_that_sends_whole_texts_has_no_parser_until_it_sends_something_else(
    websocket, client
):
    client.say(TextMessage("one"), TextMessage("two" * 100))
    assert [websocket.wait(), websocket.wait()] == ["one", "two" * 100]
    assert websocket._protocol is None
    client.say(TextMessage("thr", message_finished=False), TextMessage("ee"), TextMessage("four"))
    assert [websocket.wait(), websocket.wait()] == ["three", "four"]
