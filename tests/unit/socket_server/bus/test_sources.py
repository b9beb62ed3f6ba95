"""Reading the bus: what py-amqp is made to do, which its next version might do otherwise."""

from __future__ import annotations

import socket
from struct import pack
from types import SimpleNamespace
from unittest.mock import MagicMock

from amqp.transport import TCPTransport

from bridge.settings import Settings
from socket_server.bus.sources import Stream, read_ahead


class CountingSocket:
    """A socket that counts the calls of ``recv``."""

    def __init__(self, sock):
        self.sock, self.calls = sock, 0

    def recv(self, size):
        self.calls += 1
        return self.sock.recv(size)

    def sendall(self, data):
        self.sock.sendall(data)


def test_many_frames_are_taken_from_the_socket_at_once():
    near, far = socket.socketpair()
    with near, far:
        transport = TCPTransport("localhost")
        transport.sock = CountingSocket(near)
        transport._setup_transport()
        read_ahead(SimpleNamespace(connection=SimpleNamespace(transport=transport)))
        payloads = [b"x" * size for size in range(20)]
        far.sendall(b"".join(pack(">BHI", 1, 0, len(one)) + one + b"\xce" for one in payloads))
        assert [bytes(transport.read_frame()[2]) for _ in payloads] == payloads
        assert transport.sock.calls == 1


def test_a_transport_that_is_not_amqp_is_left_alone():
    read_ahead(SimpleNamespace(connection=SimpleNamespace()))


def test_a_stream_that_is_read_again_is_not_known_to_be_read_up_to_its_end():
    stream = Stream(Settings())
    stream.idle, stream._last = True, lambda connection: -1
    next(stream.read(MagicMock()))
    assert not stream.idle
