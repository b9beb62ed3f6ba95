"""The fast path: what it reaches into is where it was, and it reads and writes all there is."""

from __future__ import annotations

import inspect
import random
from contextlib import nullcontext
from errno import EBADF
from struct import pack
from types import SimpleNamespace

import amqp.connection
import amqp.transport
import pytest
import socketio
from engineio import packet
from engineio import socket as eio_socket

from bridge.protocol.event import Event
from bridge.settings import Settings
from socket_server.bus.amqp_reader import OFFSET, Deliveries
from socket_server.concurrency.patching import hub_of
from socket_server.connection import fast_path, guarded_server
from socket_server.connection.direct_socket import PIECE, DirectSocket, DirectSockets
from socket_server.connection.nonblocking_websocket import NonBlockingWebSocket
from socket_server.connection.send_queue import SendQueue
from socket_server.connection.shared_packet import Shared
from socket_server.journal.journal import Journal
from socket_server.messages.answer import Answer
from socket_server.observability.counters import Counters

CHANNEL = 2


GREEN = pytest.mark.parametrize("mode", ["eventlet", "gevent"])


@GREEN
@pytest.mark.filterwarnings("ignore:\\s*Eventlet is deprecated")
def test_what_it_reaches_into_is_where_it_was(mode):
    """A newer library that moves it must fail here; ``TASKBRIDGE_FAST_PATH=0`` goes without."""
    assert fast_path.moved(hub_of(mode)) == []
    assert "_fwdm" in inspect.getsource(socketio.base_manager)
    reading = inspect.getsource(amqp.transport)
    assert "self._read_buffer = EMPTY_BUFFER" in reading
    assert callable(amqp.transport.TCPTransport.having_timeout)
    inside = inspect.getsource(amqp.connection)
    assert "self.on_inbound_frame" in inside
    assert "bytes_recv" in inside


@pytest.mark.filterwarnings("ignore:\\s*Eventlet is deprecated")
@pytest.mark.parametrize("gone", ["socket.Socket.poll_all", "Server._handle_connect"])
@GREEN
def test_a_server_with_other_libraries_runs_without_it_and_says_so(monkeypatch, caplog, gone, mode):
    def new():
        settings = Settings(secret=("s" * 32,))
        return guarded_server.GuardedEngine(settings=settings, flow=Counters(), async_mode=mode)

    assert isinstance(new().sockets, DirectSockets)
    monkeypatch.setitem(fast_path.ENGINE, gone, ("what no library has",))
    assert fast_path.moved(hub_of(mode)) == [f"engineio.{gone}"]
    engine = new()
    assert not isinstance(engine.sockets, DirectSockets)
    assert f"without its fast path, for these parts of libraries have changed: engineio.{gone}" in (
        caplog.text
    )


def test_a_connection_whose_library_has_moved_is_read_by_the_library(monkeypatch, caplog):
    transport = amqp.transport.TCPTransport.__new__(amqp.transport.TCPTransport)
    connection = SimpleNamespace(transport=transport, on_inbound_frame=None, bytes_recv=0)
    transport._read_buffer, transport.sock = b"", None
    assert Deliveries.can_read(connection)
    del connection.bytes_recv
    assert not Deliveries.can_read(connection)
    assert "py-amqp has no bytes_recv" in caplog.text


def frame(kind, payload, channel=CHANNEL):
    return pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def delivery(body, tag, headers=b"", channel=CHANNEL, parts=1):
    """Return the frames of a delivery, as RabbitMQ sends them."""
    method = pack(">HH", 60, 60) + b"\x03tag" + pack(">QB", tag, 0) + b"\x00\x00"
    header = pack(">HHQH", 60, 0, len(body), 0x2000) + pack(">I", len(headers)) + headers
    size = max(1, -(-len(body) // parts))
    bodies = [body[at : at + size] for at in range(0, len(body), size)]
    return [
        frame(1, method, channel),
        frame(2, header, channel),
        *(frame(3, part, channel) for part in bodies),
    ]


def offset(value):
    return OFFSET + pack(">q", value)


class Connection:
    """As much of py-amqp's connection as is used; it is given bytes piece by piece."""

    def __init__(self, pieces):
        self.pieces, self.bytes_recv, self.frames = list(pieces), 0, []
        self.transport = SimpleNamespace(
            _read_buffer=b"", sock=self, having_timeout=lambda _: nullcontext()
        )

    def recv(self, _):
        return self.pieces.pop(0)

    def on_inbound_frame(self, found):
        self.frames.append(found)


def read(pieces):
    """Return the deliveries and the frames for py-amqp that are in some bytes."""
    taken, connection = [], Connection(pieces)
    deliveries = Deliveries(connection, CHANNEL, taken.append)
    while connection.pieces:
        deliveries.read(1.0)
    assert connection.transport._read_buffer == b""
    return [tuple(one) for one in taken], connection.frames


def test_a_delivery_is_read_with_its_number_and_its_place():
    sent = b"".join(delivery(b"body", 7, offset(99)) + delivery(b"more", 8))
    assert read([sent]) == ([(b"body", 99, 7), (b"more", None, 8)], [])


def test_however_the_bytes_come_the_same_is_read():
    chance = random.Random(1)
    bodies = [chance.randbytes(chance.randrange(1, 60)) for _ in range(200)]
    beat = frame(8, b"", channel=0)
    sent = b"".join(
        b"".join(delivery(body, tag, offset(tag))) + beat * (tag % 3 == 0)
        for tag, body in enumerate(bodies)
    )
    for size in (1, 3, 7, 64, 1000):
        found, frames = read([sent[at : at + size] for at in range(0, len(sent), size)])
        assert found == [(body, tag, tag) for tag, body in enumerate(bodies)]
        assert len(frames) == len(range(0, 200, 3))


@pytest.mark.parametrize(
    "frames",
    [
        delivery(b"of another channel", 1, channel=3),
        delivery(b"in two parts", 1, parts=2),
        delivery(b"", 1),
        delivery(b"with two places", 1, offset(1) + offset(2)),
        [frame(1, pack(">HH", 20, 40))],
        [delivery(b"others", 1)[0], frame(8, b"", 0), *delivery(b"others", 1)[1:]],
    ],
)
def test_what_is_no_whole_delivery_goes_to_py_amqp_frame_by_frame(frames):
    found, given = read([b"".join(frames) + b"".join(delivery(b"next", 2, offset(5)))])
    assert found == [(b"next", 5, 2)]
    assert [payload for _, _, payload in given] == [one[7:-1] for one in frames]


def test_what_is_no_frame_ends_the_connection():
    with pytest.raises(OSError, match="no frame"):
        read([frame(8, b"", 0)[:-1] + b"x"])
    with pytest.raises(OSError, match="closed"):
        Deliveries(Connection([b""]), CHANNEL, print).read(1.0)


class Lock:
    """A lock of greenlets, as far as it is used."""

    held = False

    def acquire(self):
        assert not self.held
        self.held = True
        return True

    def release(self):
        self.held = False

    def locked(self):
        return self.held


class Peer:
    """A client's end: takes so many bytes at once, and all of them if it is waited for."""

    def __init__(self, room=1 << 30):
        self.room, self.got, self.gone = room, b"", False
        self.sizes: list[int] = []
        self.closed = 0

    def send(self, data):
        if self.gone:
            raise ConnectionResetError
        if not self.room:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.got += taken
        self.sizes.append(len(taken))
        return len(taken)

    def sendall(self, data):
        if self.gone:
            raise ConnectionResetError
        self.got += data

    def shutdown(self, _):
        if self.gone:
            raise OSError(EBADF, "Bad file descriptor")

    def close(self):
        self.closed += 1


class Engine:
    """As much of an engine as a socket needs."""

    ping_interval = 25

    def __init__(self):
        self.marked, self.tasks = [], []
        self.writer = SimpleNamespace(mark=self.mark, ping_later=lambda _: None, start=int)
        self.sockets = DirectSockets()
        kind = type("Kind", (SendQueue,), {"most": 1 << 20})
        self.create_queue = lambda: new_queue(kind)

    def mark(self, client):
        client.marked = True
        self.marked.append(client)

    def start_background_task(self, task, *arguments):
        self.tasks.append(lambda: task(*arguments))

    def run(self):
        """Do what would be done when everybody waits."""
        while self.marked or self.tasks:
            for client in [self.marked.pop(0) for _ in list(self.marked)]:
                client.flush()
            for task in [self.tasks.pop(0) for _ in list(self.tasks)]:
                task()


def new_queue(kind):
    made = kind()
    made._init(None)
    return made


@pytest.fixture
def engine():
    return Engine()


@pytest.fixture
def peer():
    return Peer()


@pytest.fixture
def client(engine, peer):
    made = eio_socket.Socket(engine, "sid")
    engine.sockets["sid"] = made
    assert type(made) is DirectSocket
    made._line, made.direct = NonBlockingWebSocket(WebSocket(peer), peer, None, None), True
    return made


class WebSocket:
    """As much of a WebSocket as is used: it says goodbye, if it can."""

    def __init__(self, peer):
        self.socket, self.lock = peer, Lock()

    def close(self):
        if not self.socket.gone:
            self.socket.sendall(b"\x88\x00")
        self.socket.close()


def test_what_came_in_one_turn_is_written_at_once_in_order(engine, client, peer):
    said = [Shared(f"{number}") for number in range(5)]
    for one in said:
        client.send(one)
    assert peer.got == b""
    engine.run()
    assert peer.got == b"".join(one.data for one in said)
    assert len(peer.sizes) == 1


def test_of_what_waits_the_newest_of_a_bar_is_written(engine, client, peer):
    for number in range(3):
        client.offer(Shared(f"bar {number}", "bar"))
        client.offer(Shared(f"line {number}"))
    engine.run()
    for said in (b"line 0", b"line 1", b"bar 2", b"line 2"):
        assert said in peer.got
    assert b"bar 0" not in peer.got
    assert b"bar 1" not in peer.got


def test_a_client_that_takes_part_of_a_frame_gets_the_rest_and_what_came_behind(
    engine, client, peer
):
    peer.room = 10
    said = [Shared("x" * 100), Shared("y" * 100)]
    client.offer(said[0])
    client.flush()
    assert client.blocked
    client.offer(said[1])
    client.flush()
    assert len(peer.got) == 10
    engine.run()
    assert peer.got == b"".join(one.data for one in said)
    assert not client.blocked
    assert client.queue.stuck() == 0


def test_a_pong_that_is_being_written_is_not_written_into(engine, client, peer):
    lock = client._line._lock
    lock.acquire()
    client.offer(Shared("behind the pong"))
    client.flush()
    assert peer.got == b""
    lock.release()
    engine.run()
    assert b"behind the pong" in peer.got


def test_much_is_written_before_the_turn_is_over(client, peer):
    client.offer(Shared("x" * PIECE))
    assert len(peer.got) > PIECE


@pytest.mark.parametrize("room", [1 << 30, 0])
def test_a_client_that_is_hung_up_on_gets_what_was_said_before(engine, client, peer, room):
    peer.room = room
    client.offer(Shared("last words"))
    client.closed = True
    client.queue._put(None)
    engine.run()
    assert peer.got.endswith(b"last words\x88\x00")
    assert (peer.closed, client.direct) == (1, False)


@pytest.mark.parametrize("room", [1 << 30, 5])
def test_a_client_that_is_gone_is_hung_up_on(engine, client, peer, room):
    peer.room = room
    client.offer(Shared("to nobody"))
    client.flush()
    peer.gone = True
    client.offer(Shared("to nobody at all"))
    engine.run()
    assert (peer.closed, client.direct, client.blocked) == (1, False, False)


def test_a_ping_is_a_frame_like_any_other(engine, client, peer):
    client.ping()
    engine.run()
    assert peer.got == b"\x81\x01" + str(packet.PING).encode()
    assert client.last_ping


def journal_of(count, **options):
    journal = Journal(**options)
    for seq in range(count):
        data = {"lines": [{"message": f"{seq} " + "x" * 5_000}]}
        journal.fold(Event(job="j", task="j", type="log", run=1, seq=seq, at=1.0, data=data))
    return journal


def test_what_comes_behind_a_large_answer_is_written_when_all_of_it_was(engine, client, peer):
    peer.room = 20_000
    client.send(Answer("3/jobs,1", journal_of(100).view("j").encode()))
    client.offer(behind := Shared("behind"))
    client.flush()
    assert client.blocked
    assert len(peer.got) == 20_000
    engine.run()
    assert peer.got.endswith(behind.data)
    assert peer.got.count(behind.data) == 1
    assert len(peer.got) > 500_000
    assert not client.queue.answering


def test_a_large_answer_does_not_take_the_turns_of_all_others(client, peer):
    client.send(Answer("3/jobs,1", journal_of(400).view("j").encode()))
    client.flush()
    assert 20_000 < len(peer.got) < 60_000
    assert client.marked


def test_who_takes_an_answer_too_slowly_for_what_is_held_is_hung_up_on(engine, client, peer):
    peer.room = 20_000
    journal = journal_of(100, max_events=100)
    client.send(Answer("3/jobs,1", journal.view("j").encode()))
    client.flush()
    journal.restart()
    engine.run()
    assert (peer.closed, client.direct, client.blocked) == (1, False, False)


class Hub:
    """A hub that makes its calls when it is told to."""

    def __init__(self):
        self.soon, self.readers = [], []

    def call_soon(self, call):
        self.soon.append(call)

    def add_reader(self, plain, call):
        self.readers.append((plain, call))
        return self.readers[-1]

    def remove_reader(self, reader):
        self.readers.remove(reader)

    def turn(self):
        """Make the calls that are due, once each."""
        for call in [self.soon.pop(0) for _ in list(self.soon)]:
            call()
        for _, call in list(self.readers):
            call(7)


class Line:
    """A WebSocket that a hub reads, whose messages are single bytes; ``.`` completes none."""

    def __init__(self, peer):
        self.hub, self.greenlets, self.got, self.goes_on = Hub(), [], b"", True
        peer.recv = self.recv
        self.sent: list[bytes] = []
        self.websocket = NonBlockingWebSocket(
            WebSocket(peer), peer, self.hub, lambda *call: self.greenlets.append(call)
        )
        self.websocket.serve(self.receive, lambda: self.goes_on)

    def recv(self, _):
        if not self.sent:
            raise BlockingIOError
        if isinstance(one := self.sent.pop(0), Exception):
            raise one
        return one

    def receive(self, data):
        self.got += data
        return data != b"."

    def say(self, *data):
        self.sent += data
        self.hub.turn()

    def run(self):
        for call, *arguments in [self.greenlets.pop(0) for _ in list(self.greenlets)]:
            call(*arguments)


@pytest.fixture
def line(peer):
    made = Line(peer)
    made.websocket.start()
    made.hub.turn()
    return made


def test_the_hub_reads_and_a_greenlet_runs_once_there_is_something_to_do(line):
    line.say(b".")
    assert (line.got, line.greenlets) == (b".", [])
    line.say(b"m")
    assert len(line.greenlets) == 1
    line.run()
    line.say(b"n")
    assert (line.got, len(line.greenlets), len(line.hub.readers)) == (b".mn", 1, 1)


def test_while_messages_are_handled_nothing_more_is_read(line):
    line.say(b"m")
    line.say(b"n")
    line.say()
    assert (line.got, len(line.greenlets), line.hub.readers) == (b"m", 1, [])
    line.run()
    line.say()
    line.say()
    assert line.got == b"mn"


@pytest.mark.parametrize("last", [b"", ConnectionResetError(), OSError("a message is too large")])
def test_the_end_of_a_connection_is_noted_once(line, peer, last):
    ended = []
    line.websocket.at_end(lambda: ended.append("session"))
    line.websocket.at_end(lambda: ended.append("gate"))
    [(_, call)] = line.hub.readers
    line.say(last)
    line.run()
    line.websocket.close()
    call(7)  # the hub had looked at the socket before the reader was removed
    assert ended == ["session", "gate"]
    assert (line.hub.readers, line.greenlets) == ([], [])
    assert peer.closed
    line.websocket.at_end(lambda: ended.append("late"))
    assert ended[-1] == "late"


def test_a_connection_that_is_closed_before_its_request_has_ended_is_never_read(peer):
    line = Line(peer)
    line.websocket.close()
    line.websocket.start()
    line.hub.turn()
    assert line.hub.readers == []


def test_messages_of_a_connection_that_was_closed_meanwhile_are_not_handled(line, peer):
    line.websocket._serve = lambda: pytest.fail("it is handled")
    line.say(b"m")
    line.websocket.close()
    line.run()
    assert peer.closed


def test_a_connection_ends_when_its_session_says_so(line, peer):
    line.goes_on = False
    line.say(b"m")
    line.run()
    assert peer.closed == 1
