"""The server inside an application: which broker it reads, and how it starts."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from werkzeug.test import Client

from bridge import Settings
from socket_server import create_app

KEY = ("a key that is long enough to sign with",)


@pytest.mark.parametrize(
    ("broker", "told"), [(None, True), ("redis://localhost:1", False)], ids=["embedded", "named"]
)
def test_a_server_that_reads_the_embedded_broker_says_how_it_reads_the_applications(
    tmp_path, caplog, broker, told
):
    settings = Settings(home=tmp_path, broker_url=broker, secret=KEY)
    with caplog.at_level(logging.WARNING, "socket_server"):
        create_app(settings)
    assert ("call bridge.install(app) before create_app" in caplog.text) is told
    assert (str(tmp_path) in caplog.text) is told


@pytest.fixture
def slow_start(tmp_path, monkeypatch):
    """Yield an application, two events and a list.

    Its start sets the first event and then waits for the second; each time that its manager begins
    to listen to the broker, the list gets an item.
    """
    application = create_app(Settings(home=tmp_path, secret=KEY), async_mode="threading")
    begun, go_on, listening = threading.Event(), threading.Event(), []

    def preload():
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(application.server.bridge, "preload", preload)
    manager = application.server.sio.manager
    monkeypatch.setattr(manager, "initialize", lambda: listening.append(threading.get_ident()))
    monkeypatch.setattr(application.server.sio, "start_background_task", lambda *_: None)
    yield application, begun, go_on, listening
    go_on.set()


def test_requests_that_come_while_the_server_starts_wait_until_it_has_started(slow_start):
    application, begun, go_on, listening = slow_start
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Client(application).get, "/api/health")
        assert begun.wait(30)
        second = pool.submit(Client(application).get, "/socket.io/?EIO=4&transport=polling")
        with pytest.raises(TimeoutError):
            second.result(0.2)
        go_on.set()
        first.result(30), second.result(30)
    assert len(listening) == 1


def test_a_client_that_connects_while_the_server_starts_does_not_make_it_listen_twice(slow_start):
    application, begun, go_on, listening = slow_start
    sio = application.server.sio
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(application.server.start)
        assert begun.wait(30)
        sio._handle_eio_connect("client", {"REMOTE_ADDR": "127.0.0.1"})
        go_on.set()
        starting.result(30)
    assert len(listening) == 1
