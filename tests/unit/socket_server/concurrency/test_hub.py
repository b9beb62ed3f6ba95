"""The hubs of eventlet and gevent, with their own greenlets and sockets."""

from __future__ import annotations

import importlib
import socket
import time

import pytest

from socket_server.concurrency.patching import hub_of
from support.green import green_socket

pytestmark = pytest.mark.filterwarnings("ignore:\\s*Eventlet is deprecated")


@pytest.fixture(params=["eventlet", "gevent"])
def library(request):
    return importlib.import_module(request.param)


@pytest.fixture
def hub(library):
    return hub_of(library.__name__)


def sleep_until(library, condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        library.sleep(0.001)


def test_calls_are_made_in_order_once_the_running_greenlet_yields(library, hub):
    made = []
    for number in range(3):
        hub.call_soon(made.append, number)
    assert made == []
    library.sleep(0.001)
    assert made == [0, 1, 2]


def test_a_call_is_made_when_its_time_has_come(library, hub):
    made, begun = [], time.monotonic()
    hub.call_later(0.05, lambda: made.append(time.monotonic() - begun))
    hub.call_later(0, made.append, "at once")
    sleep_until(library, lambda: len(made) == 2)
    assert made[0] == "at once"
    assert made[1] >= 0.045


def test_calls_that_follow_each_other_leave_sockets_their_turn(library, hub):
    calls, read = [], []
    near, far = socket.socketpair()
    green = green_socket(library.__name__, near)

    def again():
        calls.append(len(read))
        if not read:
            hub.call_later(0, again)

    reader = library.spawn(lambda: read.append(green.recv(1)))
    library.sleep(0.001)
    hub.call_later(0, again)
    far.sendall(b"x")
    sleep_until(library, lambda: read and calls[-1])
    assert read == [b"x"]
    assert len(calls) <= 5
    del reader
    green.close()
    near.close()
    far.close()


def test_a_reader_is_called_whenever_there_is_something_to_read_until_it_is_removed(library, hub):
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        read, readers = [], []

        def take(*_):
            read.append(near.recv(9))

        hub.call_soon(lambda: readers.append(hub.add_reader(near, take)))
        for one in (b"one", b"two"):
            far.sendall(one)
            sleep_until(library, lambda one=one: read and read[-1] == one)
        hub.remove_reader(readers[0])
        far.sendall(b"three")
        library.sleep(0.05)
        assert read == [b"one", b"two"]
        again = hub.add_reader(near, take)
        sleep_until(library, lambda: len(read) == 3)
        hub.remove_reader(again)  # another socket gets the number of this one


def test_threads_have_no_hub():
    assert hub_of("threading") is None
