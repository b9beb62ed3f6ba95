"""Engine: what python-socketio and python-engineio are made to bear, and that they still can be."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event, Semaphore
from types import SimpleNamespace

import engineio
import engineio.async_drivers._websocket_wsgi
import pytest
import simple_websocket.ws
import socketio
from engineio import packet as eio_packet
from engineio import socket as eio_socket

from bridge import tokens
from bridge.errors import BrokerUnavailable
from bridge.protocol.event import Event as JobEvent
from socket_server.messages.answer import Answer, Body
from support.lone_server import SECRET, LoneClient, new_lone_server
from support.wait import until


@pytest.fixture
def server():
    return new_lone_server()


@pytest.fixture
def client(server):
    return LoneClient(server)


def token(**claims):
    return tokens.sign([SECRET], **{"owner": "me", "scope": "watch cancel enqueue", **claims})


def test_the_insides_that_are_reached_into_are_where_they_were():
    """A newer python-socketio that moves them must fail here and not in production."""
    for name in ("_handle_eio_connect", "_handle_eio_disconnect", "_handle_eio_message"):
        assert callable(getattr(socketio.Server, name))
    for name in ("_handle_connect", "_handle_disconnect", "_handle_event"):
        assert callable(getattr(socketio.Server, name))
    for name in ("_send_packet", "_send_eio_packet"):
        assert callable(getattr(socketio.Server, name))
    assert "id" in inspect.signature(socketio.Server._handle_event).parameters
    assert "encoded_packet" in inspect.getsource(socketio.packet.Packet.__init__)
    source = inspect.getsource(eio_socket.Socket)
    for used in ("self.queue.get(", "self.queue.put(", "_async['websocket']", "ws.wait()"):
        assert used in source, used
    assert "self.server.create_queue()" in inspect.getsource(eio_socket.base_socket.BaseSocket)
    assert callable(engineio.Server.handle_request)


def test_python_engineio_reads_whatever_the_wire_lets_through():
    for text in ("3", "2probe", "5", "1", "40/jobs,", '42["x"]', "451-"):
        eio_packet.Packet(encoded_packet=text)


@pytest.mark.parametrize(
    "data",
    [
        b"attachment",
        '51-/jobs,["x",{"_placeholder":true,"num":0}]',
        '51-["x",{"_placeholder":true,"num":0}]',
        '59999999999-["x"]',
        "2/jobs,1",
        "2/jobs,1[]",
        "2/jobs,1{}",
        "2/jobs,1[7]",
        '2/jobs,1["watch",NaN]',
        '2/jobs,1["watch",1e999]',
        "2/jobs,1[[[",
        "2/jobs," + "[" * 50_000,
        '2/jobs,1["watch",' + "9" * 5000 + "]",
        '4/jobs,{"message":"no"}',
        '25-["x"]',
        "7",
        "",
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_who_sends_what_is_no_packet_is_hung_up_on(client, data, known):
    if known:
        assert client.connect(token()).startswith("0/jobs,")
    client.say(data)
    assert client.gone


@pytest.mark.parametrize("name", ["connect", "disconnect", "admit", "expire", "job", "emit", ""])
def test_a_name_that_is_no_request_reaches_no_handler(client, name):
    client.connect(token())
    answer = client.ask(name, {"token": token(owner="somebody else")})
    assert answer["error"]["code"] == "bad_request"
    assert client.ask("jobs", {})["ok"]
    assert not client.gone


def test_an_attempt_to_connect_is_refused_and_a_sixth_not_even_answered(client):
    for _ in range(5):
        assert client.connect("rubbish").startswith("4/jobs,")
    client.say('0/jobs,{"token":"rubbish"}')
    assert (client.gone, client.told()) == (True, [])


def test_nobody_stays_in_a_namespace_that_nobody_serves(client):
    for name in ("", "/,", "/admin,", "/job,"):
        client.say(f"0{name}")
        assert "Unable to connect" in client.told()[0]


def test_who_shows_no_token_is_hung_up_on_and_who_did_is_not(monkeypatch):
    server = new_lone_server(connect_timeout=5.0)
    now = 1000.0
    monkeypatch.setattr("socket_server.connection.guarded_server.time.monotonic", lambda: now)
    stranger, refused, known = (LoneClient(server) for _ in range(3))
    refused.connect("rubbish")
    known.connect(token())
    now += 5.1
    server.sio.look_after()
    assert (stranger.gone, refused.gone, known.gone) == (True, True, False)
    known.say("1/jobs,")
    now += 5.1
    server.sio.look_after()
    assert known.gone
    assert not server.sio._strangers
    assert not server.sio.eio.addresses


def test_a_token_is_replaced_by_another_of_its_owner_alone(server, client):
    client.connect(token())
    assert client.ask("refresh", {"token": token(owner="you")})["error"]["code"] == "forbidden"
    assert client.ask("refresh", {"token": "rubbish"})["error"]["code"] == "unauthorized"
    assert client.ask("refresh", {})["error"]["code"] == "unauthorized"
    assert client.ask("refresh", {"token": token(scope="cancel")})["ok"]
    assert client.ask("jobs", {})["error"]["code"] == "forbidden"


def test_a_client_is_told_that_its_token_expires_and_then_hung_up_on(server, client):
    client.connect(token(ttl=20))
    server.jobs.expire()
    [notice] = client.told()
    assert notice.startswith('2/jobs,["token_expiring",{"expires":')
    server.jobs.expire()
    assert client.told() == []
    client.ask("refresh", {"token": token(ttl=20)})
    server.jobs.expire()
    assert "token_expiring" in client.told()[0]
    assert client.ask("refresh", {"token": token(ttl=3600)})["ok"]
    server.jobs.expire()
    assert client.told() == []


def test_a_connection_ends_with_its_token(client, server, monkeypatch):
    client.connect(token(ttl=20))
    monkeypatch.setattr("socket_server.watching.namespace.time.time", lambda: 10**10)
    server.jobs.expire()
    assert client.told()[-1] == "1/jobs,"


def test_the_insides_of_simple_websocket_are_where_they_were():
    inside = inspect.getsource(simple_websocket.ws.Base)
    used = ["self.input_buffer = []", "self.input_buffer.pop(0)", "self.sock.recv("]
    for part in (*used, "self.event.wait(", "self.sock.close()"):
        assert part in inside, part
    assert "environ.get('gunicorn.socket')" in inspect.getsource(simple_websocket.ws.Server)
    driver = inspect.getsource(engineio.async_drivers._websocket_wsgi)
    assert "self.ws = simple_websocket.Server(" in driver
    assert "if self.ws.mode == 'gunicorn':\n            raise StopIteration()" in driver


def test_what_polling_reaches_into_is_where_it_was():
    source = inspect.getsource(engineio.Server.handle_request)
    assert "r = self._ok(packets" in source
    assert "len(r['response']) >= self.compression_threshold" in source
    assert "return [r['response']]" in source


@pytest.mark.parametrize("jsonp", [None, 3])
def test_what_is_polled_is_what_python_engineio_makes_of_it_but_in_pieces(server, jsonp):
    plain = [eio_packet.Packet(eio_packet.MESSAGE, data='2["a \u00e4"]') for _ in range(2)]
    text = '3/jobs,1[{"text":"' + "x" * 20_000 + '"}]'
    whole = server.sio.eio._ok(
        [*plain, eio_packet.Packet(eio_packet.MESSAGE, data=text)], [], jsonp
    )
    answer = Answer("3/jobs,1", Body({"text": "x" * 20_000}))
    streamed = server.sio.eio._ok([*plain, answer], [], jsonp)
    pieces = list(streamed["response"])
    assert b"".join(pieces) == whole["response"]
    assert max(map(len, pieces)) <= 9_000
    assert streamed["headers"] == whole["headers"]


def test_the_next_request_is_answered_when_the_last_answer_was_taken(server):
    client = LoneClient(server)
    client.connect(token())
    looked = []

    def sleep(seconds):
        looked.append(seconds)
        if len(looked) == 3:
            client.told()

    server.sio.eio.sleep = sleep
    client.say('2/jobs,1["jobs",{}]')
    client.say('2/jobs,2["jobs",{}]')
    assert len(looked) == 3
    assert [packet[:8] for packet in client.told()] == ["3/jobs,2"]


def test_who_asks_on_and_never_takes_an_answer_is_hung_up_on(server):
    client = LoneClient(server)
    client.connect(token())
    server.sio.eio.sleep = lambda _: None
    client.say('2/jobs,1["jobs",{}]')
    client.say('2/jobs,2["jobs",{}]')
    assert client.gone


def test_an_answer_that_took_too_much_makes_the_next_request_wait():
    server = new_lone_server(answer_bytes_per_second=1)
    client = LoneClient(server)
    client.connect(token())
    assert client.ask("jobs", {})["ok"]
    error = client.ask("jobs", {})["error"]
    assert error["code"] == "too_many_requests"
    assert error["retry_after"] > 10


MOST = 3


@pytest.mark.parametrize("fails", [False, True])
def test_jobs_that_the_broker_is_just_being_given_count_as_unfinished(fails):
    server = new_lone_server(max_unfinished=MOST, tasks=("*",), enqueues_per_minute=1000)
    begun, go_on, numbers = Semaphore(0), Event(), count()

    def enqueue(*_, **__):
        begun.release()
        go_on.wait(10)
        if fails:
            raise BrokerUnavailable("it is away")
        return SimpleNamespace(id=f"job {next(numbers)}")

    server.jobs._bridge.enqueue = enqueue
    clients = [LoneClient(server) for _ in range(3 * MOST)]
    for client in clients:
        client.connect(token())
    with ThreadPoolExecutor(len(clients)) as pool:
        asked = [pool.submit(client.ask, "enqueue", {"name": "n"}) for client in clients]
        for _ in range(MOST):
            assert begun.acquire(timeout=10)
        until(lambda: sum(one.done() for one in asked) == 2 * MOST, 10, "the others' refusal")
        refused = {one.result()["error"]["code"] for one in asked if one.done()}
        assert refused == {"too_many_jobs"}
        go_on.set()
        let_in = [one.result() for one in asked if one.result().get("ok")]
    assert len(let_in) == (0 if fails else MOST)
    # Of those that failed nothing is left.
    code = clients[0].ask("enqueue", {"name": "n"})["error"]["code"]
    assert code == ("unavailable" if fails else "too_many_jobs")
    assert not server.jobs._fresh._publishing


def test_a_list_goes_on_where_its_last_page_ended():
    server = new_lone_server()
    for number in range(50):
        event = JobEvent(job=f"{number:02}", task="t", type="queued", at=1.0 + number, owner="me")
        server.journal.fold(event)
    client = LoneClient(server)
    client.connect(token())
    first = client.ask("jobs", {"limit": 30})
    second = client.ask("jobs", {"limit": 30, "next": first["next"]})
    assert [one["job"] for one in first["jobs"] + second["jobs"]] == [
        f"{number:02}" for number in reversed(range(50))
    ]
    assert "next" not in second
    for wrong in ("x", 7, "1.0:" + "j" * 400):
        assert client.ask("jobs", {"next": wrong})["error"]["code"] == "bad_request"


def test_who_is_disconnected_from_its_only_namespace_is_hung_up_on(monkeypatch):
    server = new_lone_server(connect_timeout=5.0)
    now = 1000.0
    monkeypatch.setattr("socket_server.connection.guarded_server.time.monotonic", lambda: now)
    client = LoneClient(server)
    client.connect(token(ttl=20))
    monkeypatch.setattr("socket_server.watching.namespace.time.time", lambda: 10**10)
    server.jobs.expire()
    now += 5.1
    server.sio.look_after()
    assert client.gone


def test_what_follows_in_the_same_request_is_not_read_once_a_session_is_over(client):
    for _ in range(5):
        client.connect("rubbish")
    for _ in range(3):
        client.say('0/jobs,{"token":"rubbish"}')
    assert (client.gone, client.told()) == (True, [])


def test_the_end_of_a_session_reaches_each_request_that_waits_for_packets(client):
    queue = client.pipe.queue
    queue.put(None)
    assert [queue.get(timeout=1) for _ in range(3)] == [None, None, None]


def test_a_session_has_one_websocket(server, client):
    """python-engineio would read a second one too, and end neither with the session."""
    environ = {
        "REQUEST_METHOD": "GET",
        "QUERY_STRING": f"EIO=4&transport=websocket&sid={client.sid}",
        "HTTP_UPGRADE": "websocket",
    }
    client.pipe.upgraded, client.pipe.upgrading = False, True
    statuses = []
    server.sio.handle_request(environ, lambda status, _: statuses.append(status))
    assert statuses == ["400 Bad Request"]
