"""Gate and front: who may connect, and what of a request is believed."""

from __future__ import annotations

import io

import pytest

from bridge.setting_types import networks
from bridge.settings import Settings
from socket_server.front import Front
from socket_server.gate import Gate
from support.clock import Clock


class Connection:
    ended = False

    def shutdown(self, how):
        self.ended = True


@pytest.fixture
def clock():
    return Clock()


def new_gate(clock, **limits):
    return Gate(Settings(trusted_proxies=networks("10.0.0.0/8"), **limits), clock)


def test_so_many_connections_of_one_address_are_admitted(clock):
    gate = new_gate(clock, max_connections_per_address=2)
    admitted = [gate.admit(("1.2.3.4", port), Connection()) for port in range(3)]
    assert admitted == [True, True, False]
    assert gate.admit(("1.2.3.5", 1), Connection())
    gate.leave(("1.2.3.4", 0))
    assert gate.admit(("1.2.3.4", 9), Connection())


def test_so_many_connections_are_admitted_in_all(clock):
    gate = new_gate(clock, max_connections=2)
    admitted = [gate.admit((f"1.2.3.{number}", 1), Connection()) for number in range(3)]
    assert admitted == [True, True, False]
    assert len(gate) == 2


def test_so_many_connections_of_one_address_are_admitted_a_second(clock):
    gate = new_gate(clock, connects_per_second=2.0, max_connections_per_address=3)
    for port in range(2):
        assert gate.admit(("1.2.3.4", port), Connection())
        gate.leave(("1.2.3.4", port))
    assert not gate.admit(("1.2.3.4", 3), Connection())
    clock.tick(0.5)
    assert gate.admit(("1.2.3.4", 4), Connection())


def test_a_trusted_proxy_stands_for_many(clock):
    gate = new_gate(clock, max_connections_per_address=1, connects_per_second=1.0)
    assert all(gate.admit(("10.1.1.1", port), Connection()) for port in range(50))


def test_an_ipv6_peer_is_known_by_address_and_port(clock):
    gate = new_gate(clock, max_connections_per_address=1)
    peer = ("::1", 80, 0, 0)
    assert gate.admit(peer, Connection())
    gate.leave(peer)
    assert len(gate) == 0


def test_who_does_not_ask_in_time_is_hung_up_on(clock):
    gate = new_gate(clock, connect_timeout=5.0)
    slow, asking, staying = Connection(), Connection(), Connection()
    for port, connection in enumerate((slow, asking, staying)):
        gate.admit(("1.2.3.4", port), connection)
    gate.begin(("1.2.3.4", "1"), {})
    gate.begin(("1.2.3.4", "2"), {}, None)
    clock.tick(5.1)
    gate.look_after()
    assert (slow.ended, asking.ended, staying.ended) == (True, False, False)
    clock.tick(60)
    gate.look_after()
    assert (asking.ended, staying.ended) == (True, False)


def test_who_was_answered_has_as_long_for_the_next_request(clock):
    gate = new_gate(clock, connect_timeout=5.0)
    gate.admit(("1.2.3.4", 1), connection := Connection())
    gate.begin(("1.2.3.4", "1"), {})
    clock.tick(50)
    gate.end(("1.2.3.4", "1"))
    clock.tick(4)
    gate.look_after()
    assert not connection.ended
    clock.tick(2)
    gate.look_after()
    assert connection.ended


class App:
    """Answers, and remembers what it was asked."""

    def __call__(self, environ, start_response):
        self.environ = environ
        start_response("200 OK", [])
        return [b"answer"]


def ask(clock, peer="1.2.3.4", settings=None, **environ):
    """Send a request through a front; return its status and what the application saw."""
    settings = settings or Settings(trusted_proxies=networks("10.0.0.0/8, 192.168.1.1"))
    app, statuses, slept = App(), [], []
    front = Front(app, settings, Gate(settings, clock), slept.append)
    base = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": peer, "REMOTE_PORT": "1", "HTTP_HOST": "me"}
    base |= {"wsgi.url_scheme": "http", "wsgi.input": io.BytesIO()}
    answer = front({**base, **environ}, lambda status, headers: statuses.append(status))
    b"".join(answer)
    return statuses[0], getattr(app, "environ", None)


FORWARDED = {
    "HTTP_X_FORWARDED_FOR": "6.6.6.6, 5.5.5.5, 10.0.0.7",
    "HTTP_X_FORWARDED_PROTO": "https",
    "HTTP_X_FORWARDED_HOST": "app.example",
}


def test_what_a_trusted_proxy_says_of_a_client_is_believed(clock):
    _, seen = ask(clock, "192.168.1.1", **FORWARDED)
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"], seen["HTTP_HOST"]) == (
        "5.5.5.5", "https", "app.example"
    )  # fmt: skip
    assert "HTTP_X_FORWARDED_FOR" not in seen


def test_what_anybody_else_says_is_not(clock):
    _, seen = ask(clock, "1.2.3.4", **FORWARDED)
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"], seen["HTTP_HOST"]) == (
        "1.2.3.4", "http", "me"
    )  # fmt: skip
    assert not any("FORWARDED" in name for name in seen)


@pytest.mark.parametrize("chain", ["rubbish", "", ",,", "5.5.5.5, rubbish"])
def test_a_chain_that_says_nothing_leaves_the_proxys_address(clock, chain):
    _, seen = ask(clock, "10.0.0.9", HTTP_X_FORWARDED_FOR=chain)
    assert seen["REMOTE_ADDR"] == "10.0.0.9"


@pytest.mark.parametrize("length", ["70000", "-1", "1e3", "٣"])
def test_a_body_of_a_length_that_cannot_be_is_refused(clock, length):
    assert ask(clock, CONTENT_LENGTH=length)[0].startswith("413")


def test_a_body_without_a_length_is_refused(clock):
    assert ask(clock, HTTP_TRANSFER_ENCODING="chunked")[0].startswith("413")


def test_a_websocket_of_another_version_is_refused(clock):
    assert ask(clock, HTTP_UPGRADE="websocket")[0].startswith("426")
    assert ask(clock, HTTP_UPGRADE="websocket", HTTP_SEC_WEBSOCKET_VERSION="13")[0] == "200 OK"


def test_compression_is_not_negotiated(clock):
    _, seen = ask(clock, HTTP_SEC_WEBSOCKET_EXTENSIONS="permessage-deflate")
    assert "HTTP_SEC_WEBSOCKET_EXTENSIONS" not in seen
