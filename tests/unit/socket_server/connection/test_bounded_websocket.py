"""Wire: reading from a client's WebSocket."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import SimpleNamespace

import pytest
import simple_websocket

from bridge.settings import Settings
from socket_server.connection.bounded_socket import (
    BOUNDED,
    READ_AHEAD,
    BoundedSocket,
    PacedSocket,
    TooLarge,
)
from socket_server.connection.bounded_websocket import BoundedWebSocket, bounded_websocket_class
from socket_server.connection.shared_packet import Shared
from socket_server.limits.token_bucket import Bucket
from socket_server.messages.answer import Answer, Body
from socket_server.messages.packet_checks import are_packets, is_packet
from support.clock import Clock


class Socket:
    def __init__(self, data):
        self.data, self.shut_down = data, False

    def recv(self, size):
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def shutdown(self, how):
        self.shut_down = True


def nobody(seconds):
    """Let nobody have a turn: there is nobody else."""


class WebSocket:
    def __init__(self, *messages):
        self.messages = list(messages)

    @property
    def unread(self):
        return bool(self.messages)

    def wait(self):
        return self.messages.pop(0) if self.messages else None


def test_what_is_read_between_two_messages_is_bounded():
    bounded = BoundedSocket(Socket(b"x" * 100), most=50, sleep=nobody)
    assert bounded.recv(50) == b"x" * 50
    with pytest.raises(TooLarge):
        bounded.recv(10)


def test_a_message_that_is_complete_starts_the_count_anew():
    bounded = BoundedSocket(Socket(b"x" * 100), most=50, sleep=nobody)
    wire = BoundedWebSocket(
        WebSocket('42/jobs,["x"]', "3"), bounded, Bucket(100, 100), lambda _: None
    )
    for message in ('42/jobs,["x"]', "3"):
        bounded.recv(50)
        assert wire.wait() == message


@pytest.mark.parametrize("reader", [None, "the hub"])
def test_others_run_before_each_message_but_the_last_that_the_hub_has_read(reader):
    turns, websocket = [], WebSocket("3", "3", "3")
    wire = BoundedWebSocket(websocket, None, Bucket(100, 100), turns.append)
    wire.detached = reader
    assert [wire.wait() for _ in range(3)] == ["3"] * 3
    assert turns == ([0, 0, 0] if reader is None else [0, 0])


def test_the_last_message_that_the_hub_has_read_waits_too_if_its_client_sends_too_fast():
    turns = []
    wire = BoundedWebSocket(WebSocket("3"), None, Bucket(1, 1, Clock()), turns.append)
    wire.detached = "the hub"
    wire.wait()
    assert turns == [pytest.approx(1 / 1024)]


def test_what_reads_ahead_waits_until_its_messages_are_taken():
    ahead, bounded = ["a message"], PacedSocket(Socket(b"x" * 100), most=50, sleep=nobody)
    bounded.unread = ahead
    bounded.recv(60)
    looks = []

    def take(seconds):
        looks.append(seconds)
        if len(looks) == 3:
            ahead.clear()
            bounded.complete()

    bounded._sleep = take
    assert bounded.recv(10) == b"x" * 10
    assert len(looks) == 3


def test_one_message_that_reads_ahead_is_bounded_too():
    bounded = PacedSocket(Socket(b"x" * 100), most=50, sleep=nobody)
    bounded.unread = []
    bounded.recv(60)
    with pytest.raises(TooLarge):
        bounded.recv(10)


def test_a_message_that_is_not_taken_does_not_free_room_for_more():
    bounded = PacedSocket(Socket(b"x" * 100), most=50, sleep=nobody)
    bounded.unread = ["a message", "another"]
    bounded.recv(60)
    bounded.unread.pop()
    bounded.complete()
    assert bounded.received == 60


class Gunicorn(Socket):
    """Sends what there is room for, as sockets of gevent do."""

    def __init__(self):
        super().__init__(b"")
        self.sent = b""

    def send(self, data):
        self.sent += data[:10]
        return 10

    def sendall(self, data):
        self.sent += data


def test_a_frame_is_sent_as_a_whole_where_sockets_do_not_block():
    bounded = PacedSocket(Gunicorn(), most=50, sleep=nobody)
    assert bounded.send(b"x" * 100) == 100
    assert bounded._socket.sent == b"x" * 100
    assert bounded.stuck() == 0.0


@pytest.mark.parametrize("middleware", [True, False], ids=["as python-engineio", "bare"])
def test_the_socket_that_simple_websocket_reads_from_is_bounded(middleware):
    """python-engineio puts a second one beside it, which nothing reads from."""
    seen, real = {}, Gunicorn()

    class Stock:
        def __init__(self, handler, server):
            pass

        def __call__(self, environ, start_response):
            seen.update(environ)

    beside = SimpleNamespace(get_socket=lambda: real)
    environ = {"gunicorn.socket": real, **({"eventlet.input": beside} if middleware else {})}
    bounded_websocket_class(Stock, Settings(), nobody)(None, None)(environ, None)
    assert isinstance(seen["gunicorn.socket"], BoundedSocket)
    assert environ["gunicorn.socket"] is real
    assert environ[BOUNDED] is seen["gunicorn.socket"]


def test_others_have_their_turn_between_many_small_frames():
    turns = []
    bounded = BoundedSocket(Socket(b"x" * 100), most=1000, sleep=turns.append)
    for _ in range(50):
        bounded.recv(2)
    assert turns == [0, 0, 0]


def test_of_a_connection_that_was_ended_nothing_more_is_read():
    bounded = BoundedSocket(socket := Socket(b"x" * 100), most=1000, sleep=nobody)
    bounded.shut()
    assert socket.shut_down
    assert bounded.recv(10) == b""


def test_who_talks_too_fast_is_not_read_for_a_while():
    clock, slept = Clock(), []
    wire = BoundedWebSocket(WebSocket(*["3"] * 4), None, Bucket(2.0, 2.5, clock), slept.append)
    for _ in range(4):
        wire.wait()
    assert slept[:2] == [0.0, 0.0]  # others have their turn all the same
    assert 0 < slept[2] < slept[3]


def test_a_message_that_is_none_ends_the_connection():
    wire = BoundedWebSocket(WebSocket("4"), None, Bucket(1, 1), lambda _: None)
    assert wire.wait() is None


@pytest.mark.parametrize(
    "packet", ["3", "2probe", "5", "1", "40/jobs,{}", '42["x"]', b"\x00", "451-"]
)
def test_packets_are_known(packet):
    assert is_packet(packet)


@pytest.mark.parametrize(
    "packet", ["", "4", "6", "x", "49", "4[", "3[[[[", "2" * 50, "bAAA", "4٣", "0{"]
)
def test_what_is_no_packet_is_known(packet):
    assert not is_packet(packet)


def test_the_body_of_a_polling_request_has_packets_and_not_too_many():
    assert are_packets(b"3\x1e40/jobs,")
    assert not are_packets(b"\xff")
    assert not are_packets(b"d=3")
    assert not are_packets("\x1e".join(["3"] * 17).encode())


class Slow:
    """A send queue whose answer is taken after so many looks."""

    def __init__(self, looks):
        self.looks = looks

    def await_taken(self, sleep):
        while self.looks:
            self.looks -= 1
            sleep(0.01)
        return True


def test_nothing_is_read_before_the_last_answer_was_taken():
    events = []

    class Listening(WebSocket):
        def wait(self):
            events.append("read")
            return super().wait()

    wire = BoundedWebSocket(
        Listening("3"), None, Bucket(9, 9), lambda _: events.append("slept"), Slow(2)
    )
    wire.wait()
    assert events == ["slept", "slept", "read", "slept"]


def test_a_thread_that_reads_ahead_stops_until_what_it_read_is_asked_for():
    unread, looks = ["3"] * READ_AHEAD, []

    def sleep(seconds):
        looks.append(seconds)
        if len(looks) == 5:
            unread.pop()

    paced = PacedSocket(Socket(b"more"), 64, sleep)
    paced.unread = unread
    assert paced.recv(4) == b"more"
    assert looks == sorted(looks)
    assert len(looks) == 5


def test_a_thread_that_waits_to_read_ends_with_its_connection():
    paced = PacedSocket(Socket(b"more"), 64, lambda _: paced.shut())
    paced.unread = ["3"] * READ_AHEAD
    assert paced.recv(4) == b""


def test_a_thread_that_reads_ahead_ends_a_connection_whose_message_does_not_end():
    paced = PacedSocket(Socket(b"part" * 3), 6, nobody)
    paced.recv(4)
    paced.recv(4)
    with pytest.raises(TooLarge):
        paced.recv(4)


def test_the_socket_that_simple_websocket_takes_from_its_server_is_bounded():
    place = {}

    class Stock:
        def __init__(self, handle, server):
            self.handle = handle

        def __call__(self, environ, start_response):
            place.update(environ)
            self.handle(SimpleNamespace(ws=SimpleNamespace(input_buffer=["3"], event=None)))

    class Client:
        queue = None

        def serve(self, wire):
            place["wire"] = wire

    environ = {"gunicorn.socket": "plain"}
    before = dict(environ)
    bounded_websocket_class(Stock, Settings(), nobody)(Client().serve, None)(environ, None)
    bounded = place["gunicorn.socket"]
    assert isinstance(bounded, PacedSocket)
    assert place[BOUNDED] is place["wire"]._bounded is bounded
    assert bounded.unread == ["3"]
    assert {key: environ[key] for key in before} == before


def test_all_of_what_is_sent_is_written():
    class Greedy(Socket):
        sent = b""

        def sendall(self, data):
            self.sent += data

    wire = BoundedWebSocket(
        SimpleNamespace(ws=SimpleNamespace(sock=PacedSocket(raw := Greedy(b""), 64, nobody))),
        None,
        Bucket(1, 1),
        nobody,
    )
    wire.send(shared := Shared("event"))
    wire.send(answer := Answer("3/jobs,1", Body({"text": "x" * 30_000})))
    assert answer.done
    assert raw.sent.startswith(shared.data + b"\x01")
    assert len(raw.sent) > 30_000


class Overtaken(threading.Event):
    """An event whose waiter has taken notice, and waits again, before ``set`` returns."""

    def set(self):
        super().set()
        deadline = time.monotonic() + 0.5
        while self.is_set() and time.monotonic() < deadline:
            time.sleep(0.001)


def test_the_handler_wakes_up_after_a_message_that_was_too_large():
    """simple-websocket sets its event first, and notes the end only then."""
    ours, theirs = socket.socketpair()
    paced = PacedSocket(ours, most=10_000, sleep=nobody)
    request = {
        "HTTP_HOST": "x",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "Upgrade",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        "QUERY_STRING": "",
        "PATH_INFO": "/",
        "gunicorn.socket": paced,
    }
    server = simple_websocket.Server(request, max_message_size=100, event_class=Overtaken)
    paced.watch(server)
    ended = []

    def receive():
        with contextlib.suppress(simple_websocket.ConnectionClosed):
            server.receive()
        ended.append(True)

    handler = threading.Thread(target=receive, daemon=True)
    handler.start()
    theirs.sendall(b"\x81\xfe\x00\xc8" + b"\0" * 204)  # a masked text frame of 200 bytes
    handler.join(10)
    theirs.close()
    assert ended
