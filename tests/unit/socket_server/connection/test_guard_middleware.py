"""Answers of many pieces through real HTTP servers: as long as their client reads them."""

from __future__ import annotations

import gc
import importlib
import socket
import threading

import pytest

from bridge.settings import Settings
from socket_server.concurrency.patching import server_of
from socket_server.concurrency.wsgi import Site
from socket_server.connection.guard_middleware import GuardMiddleware
from socket_server.limits.connections import ANSWER, ConnectionLimits
from support.clock import Clock
from support.green import green_socket
from support.wait import until

pytestmark = [
    pytest.mark.filterwarnings("ignore:\\s*Eventlet is deprecated"),
    # eventlet leaves it to Python to close a connection to which it cannot write.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

GET = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PIECE = b"x" * 65536


class Served:
    """A server in this process, whose application answers with pieces, behind the middleware."""

    def __init__(self, name):
        self.library, self.clock = importlib.import_module(name), Clock()
        settings = Settings()
        self.gate = ConnectionLimits(settings, self.clock)
        front = GuardMiddleware(self, settings, self.gate, self.library.sleep)
        plain = socket.create_server(("127.0.0.1", 0))
        self.address = plain.getsockname()
        server_of(name)(green_socket(name, plain), Site(front, 10, self.gate))

    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        return self.pieces()

    def pass_(self, seconds):
        """Let seconds pass for the gate."""
        self.clock.tick(seconds)
        self.gate.look_after()

    def until(self, condition):
        """Let the server work until a condition holds."""
        return until(lambda: self.library.sleep(0.001) or condition(), 20)


@pytest.fixture(scope="module", params=["eventlet", "gevent"])
def served(request):
    # It stays to the end of the process, as the server does: eventlet's waits for a connection.
    yield Served(request.param)
    gc.collect()


def test_an_answer_is_whole_however_long_it_takes_while_its_client_reads_it(served):
    def pieces():
        for _ in range(20):
            served.pass_(ANSWER * 2 / 3)
            yield PIECE

    def read():
        with socket.create_connection(served.address, timeout=20) as connection:
            connection.sendall(GET)
            while data := connection.recv(65536):
                heard.append(data)

    served.pieces, heard = pieces, []
    thread = threading.Thread(target=read)
    thread.start()
    served.until(lambda: not thread.is_alive())
    assert b"".join(heard).count(b"x") == 20 * len(PIECE)
    assert b"".join(heard).endswith(b"0\r\n\r\n")


def test_an_answer_whose_client_reads_none_of_it_is_ended(served):
    def endless():
        while True:
            yield PIECE

    served.pieces = endless
    with socket.create_connection(served.address) as connection:
        connection.sendall(GET)
        served.until(lambda: len(served.gate) == 1)
        served.until(lambda: served.pass_(1.0) or len(served.gate) == 0)


def test_an_answer_that_does_not_go_on_is_ended(served):
    def standing():
        yield PIECE
        while not free:
            served.library.sleep(0.001)

    served.pieces, free = standing, []
    with socket.create_connection(served.address) as connection:
        connection.sendall(GET)
        served.until(lambda: served.pass_(1.0) or ended(connection))
        free.append(True)
        served.until(lambda: len(served.gate) == 0)


def ended(connection):
    """Whether the server has ended a connection, all of whose data is read."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    return True


def test_other_clients_run_after_each_answer_and_not_before_it():
    turns, settings = [], Settings()

    def app(environ, start_response):
        turns.append("answered")
        return [b"piece"]

    front = GuardMiddleware(app, settings, ConnectionLimits(settings), turns.append)
    for number in (1, 2):
        environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "1"}
        answer = front(environ, lambda *_: None)
        assert list(answer) == [b"piece"]
        answer.close()
        assert turns == ["answered", 0] * number
