"""The HTTP servers on eventlet and gevent, with real connections to them."""

from __future__ import annotations

import errno
import importlib
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from socket_server.concurrency.patching import server_of
from socket_server.concurrency.wsgi import CONNECTION, DETACHED, HANG_UP, UPGRADED, Site
from support.green import green_socket
from support.wait import until

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Eventlet is deprecated")


class Gate:
    """Admits so many connections."""

    def __init__(self, room=100):
        self.room, self.inside = room, set()

    def admit(self, peer, connection):
        assert connection.gettimeout() != 0
        if len(self.inside) < self.room:
            self.inside.add(peer)
            return True
        return False

    def leave(self, peer):
        self.inside.discard(peer)


class Detached:
    """A connection that goes on when its request has ended."""

    def __init__(self, connection):
        self.connection, self.calls = connection, []
        self.at_end = self.calls.append

    def start(self):
        self.connection.sendall(b"it goes on")

    def end(self):
        self.connection.close()
        for call in self.calls:
            call()


DETACHED_ONES: list[Detached] = []
#: Bodies of answers that are made while they are read.
PIECES: list[Iterator[bytes]] = []


def application(environ, start_response):
    if environ["PATH_INFO"] == "/detached":
        environ[UPGRADED]()
        environ[DETACHED] = Detached(environ[CONNECTION])
        DETACHED_ONES.append(environ[DETACHED])
        start_response("200 OK", [])
        return []
    if environ["PATH_INFO"] == "/error":
        raise RuntimeError("of the application")
    if environ["PATH_INFO"] == "/pieces":
        start_response("200 OK", [])
        return PIECES[-1]
    if environ["PATH_INFO"] == "/refused":
        environ[HANG_UP]()
    body = environ["wsgi.url_scheme"].encode()
    assert environ[CONNECTION].getpeername()[1] == int(environ["REMOTE_PORT"])
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


class Served:
    """A server in this process, and clients in threads of the operating system."""

    def __init__(self, name):
        self.library, self.gate = importlib.import_module(name), Gate()
        plain = socket.create_server(("127.0.0.1", 0))
        self.address = plain.getsockname()
        self.close = server_of(name)(green_socket(name, plain), Site(application, 10, self.gate))

    def say(self, data):
        """Return all that the server answers until it hangs up, and a pause of two seconds."""
        heard = []

        def talk():
            with socket.create_connection(self.address, timeout=2) as connection:
                connection.sendall(data)
                try:
                    while piece := connection.recv(65536):
                        heard.append(piece)
                except ConnectionResetError:
                    pass
                except TimeoutError:
                    heard.append(b"<it waits>")

        thread = threading.Thread(target=talk)
        thread.start()
        until(lambda: self.library.sleep(0.005) or not thread.is_alive(), 10, "an answer")
        return b"".join(heard)


@pytest.fixture(scope="module", params=["eventlet", "gevent"])
def served(request):
    # It stays to the end of the process, as the server does: eventlet's waits for a connection.
    return Served(request.param)


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def test_requests_of_one_connection_are_answered_and_it_leaves_the_gate(served):
    answer = served.say(GET + LAST)
    assert answer.count(b"200 OK") == 2
    assert answer.endswith(b"http")
    until(lambda: served.library.sleep(0.005) or not served.gate.inside, 5, "its end")


def test_each_piece_of_an_answer_is_sent_before_the_next_one_is_made(served):
    received = []

    def pieces():
        yield b"first"
        until(lambda: served.library.sleep(0.005) or b"first" in b"".join(received), 10, "it")
        yield b"last"

    def read():
        with socket.create_connection(served.address, timeout=20) as connection:
            connection.sendall(LAST.replace(b"/ ", b"/pieces ", 1))
            while piece := connection.recv(65536):
                received.append(piece)

    PIECES.append(pieces())
    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: served.library.sleep(0.005) or not thread.is_alive(), 20, "the answer")
    assert b"last" in b"".join(received)


def test_a_connection_that_the_gate_does_not_admit_is_ended_without_a_word(served):
    served.gate.room = 0
    refused = served.say(LAST)
    served.gate.room = 100
    assert refused == b""
    assert b"200 OK" in served.say(LAST)


@pytest.mark.parametrize(
    "head",
    [
        b"rubbish\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_a_head_that_is_none_is_refused_and_nothing_is_printed(served, head, capfd):
    assert b"200 OK" not in served.say(head + LAST)
    assert capfd.readouterr() == ("", "")


def test_the_body_of_a_refused_request_is_not_awaited(served):
    begun = time.monotonic()
    answer = served.say(b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert b"200 OK" in answer
    assert b"<it waits>" not in answer
    assert time.monotonic() - begun < 2


def test_an_error_of_the_application_is_an_answer(served):
    assert b"500 Internal Server Error" in served.say(LAST.replace(b"/ ", b"/error "))
    assert b"200 OK" in served.say(LAST)


def test_errors_of_accepting_are_logged_at_times_and_later_clients_are_served(
    served, monkeypatch, caplog
):
    place, accept = accepting(served.library.__name__)
    enough, failed = time.monotonic() + 0.35, []

    def fail_for_a_while(*arguments):
        if time.monotonic() < enough:
            failed.append(True)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(*arguments)

    monkeypatch.setattr(*place, fail_for_a_while)
    with caplog.at_level(logging.WARNING):
        assert b"200 OK" in served.say(LAST)
    assert 1 <= len(failed) <= 5
    assert "a connection could not be accepted: [Errno 24] Too many open files" in caplog.text


def accepting(name):
    """Return where the method is that accepts a connection, and the method."""
    if name == "gevent":
        from gevent.server import StreamServer

        return (StreamServer, "do_read"), StreamServer.do_read
    from eventlet.greenio import GreenSocket

    return (GreenSocket, "accept"), GreenSocket.accept


def test_a_connection_that_goes_on_is_neither_written_to_nor_closed_and_leaves_at_its_end(served):
    heard = served.say(GET.replace(b"GET / ", b"GET /detached "))
    assert heard == b"it goes on<it waits>"
    assert len(served.gate.inside) == 1
    DETACHED_ONES.pop().end()
    assert not served.gate.inside
