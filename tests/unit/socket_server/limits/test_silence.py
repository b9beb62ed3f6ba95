"""A connection whose peer acknowledges nothing is ended by the kernel, whatever has accepted it."""

from __future__ import annotations

import socket
from contextlib import contextmanager

import pytest

from bridge.settings import Settings
from socket_server.limits.connections import ConnectionLimits, key_of
from socket_server.limits.silence import limit_silence


@contextmanager
def accepted(prepare=lambda listener: None):
    """Yield a connection that a listening socket has accepted."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        prepare(listener)
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as connection:
            yield connection


def milliseconds(connection):
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.mark.parametrize(("slow_after", "wanted"), [(10.0, 20_000), (45.0, 45_000)])
def test_connections_inherit_it_from_the_socket_that_accepts_them(slow_after, wanted):
    settings = Settings(slow_after=slow_after)
    with accepted(lambda listener: limit_silence(listener, settings)) as connection:
        assert milliseconds(connection) == wanted


def test_one_that_gunicorn_has_accepted_gets_it_with_its_first_request():
    with accepted() as connection:
        assert milliseconds(connection) == 0
        environ = {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "1", "gunicorn.socket": connection}
        ConnectionLimits(Settings()).begin(key_of(environ), environ, None)
        assert milliseconds(connection) == 20_000


def test_a_unix_socket_is_left_as_it_is():
    for connection in socket.socketpair():
        with connection:
            limit_silence(connection, Settings())
