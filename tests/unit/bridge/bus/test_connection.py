"""Connections to one of several brokers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import kombu
import pytest

from bridge import Bridge, Settings
from bridge.bus.connection import Connection
from bridge.client.celery_app import away
from support.ports import free_port

#: Seconds that a broker may take to answer.
PATIENCE = 0.2


class Dialled(Connection):
    """A connection that notes which hosts it tries, and finds only some of them alive."""

    alive: tuple[str, ...] = ()

    def __init__(self, *arguments, **options):
        self.tried = []
        super().__init__(*arguments, **options)

    def _establish_connection(self):
        self.tried.append(self.hostname)
        if self.hostname not in self.alive:
            raise OSError("nobody is there")
        return threading.local()  # anything that can be asked whether it is connected


URLS = ";".join(f"amqp://{host}" for host in "abcd")


@pytest.mark.parametrize("alive", "abcd")
@pytest.mark.parametrize(
    "use",
    [
        lambda connection: connection.connect(),
        lambda connection: connection.connection,
        lambda connection: connection.ensure_connection(max_retries=1, interval_start=0),
        lambda connection: connection.ensure_connection(max_retries=0, interval_start=0),
        lambda connection: connection.clone().connect(),
    ],
)
def test_any_of_four_brokers_that_lives_is_found(use, alive, monkeypatch):
    monkeypatch.setattr(Dialled, "alive", (alive,))
    use(Dialled(URLS))


def test_a_service_that_enqueues_finds_the_last_of_four_brokers():
    ports = [free_port() for _ in range(3)]
    dead = ";".join(f"amqp://127.0.0.1:{port}" for port in ports)
    bridge = Bridge(f"{dead};memory://localhost")
    assert bridge.enqueue("a.task").id
    bridge.close()


def test_each_broker_is_tried_as_often_as_a_single_one_would_be():
    connection = Dialled(URLS)
    with pytest.raises(kombu.exceptions.OperationalError):
        connection.ensure_connection(max_retries=1, interval_start=0, interval_max=0)
    assert connection.tried == [*"abcd", *"abcd"]


def test_brokers_that_take_a_connection_and_never_answer_do_not_use_up_the_time_of_the_last():
    with contextlib.ExitStack() as ends:
        silent = [
            ends.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            for _ in range(3)
        ]
        urls = ";".join(f"amqp://127.0.0.1:{port}" for port in silent)
        options = {"connect_retries_timeout": PATIENCE / 2, "max_retries": 1}
        connection = Connection(
            f"{urls};memory://localhost", connect_timeout=PATIENCE, transport_options=options
        )
        begun = time.monotonic()
        connection.default_channel  # noqa: B018 - connects
        assert connection.transport.driver_type == "memory", "the last"
        assert time.monotonic() - begun >= 3 * PATIENCE, "the others were tried"
        connection.release()


def test_what_one_url_leaves_out_is_not_taken_from_another():
    connection = Connection("amqp://u:p@a:5673/vhost;amqp://b;amqp://x:y@c")
    connection.maybe_switch_next()
    assert connection.as_uri(include_password=True) == "amqp://guest:guest@b:5672//"
    connection.maybe_switch_next()
    assert connection.as_uri(include_password=True) == "amqp://x:y@c:5672//"


def test_no_password_of_several_urls_is_in_the_sentence_that_no_broker_answers():
    urls = "amqp://u:secret1@a;amqp://u:secret2@b;amqp://u:secret3@c"
    told = away(Settings.from_environ({"TASKBRIDGE_BROKER_URL": urls}), OSError("refused"))
    assert "secret" not in told
    assert "@a" in told
    assert "@c" in told
