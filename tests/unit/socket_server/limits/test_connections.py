"""Gate and front: who may connect, and what of a request is believed."""

from __future__ import annotations

import io

import pytest

from bridge.settings import Settings
from bridge.settings.parsers import networks
from socket_server.connection.guard_middleware import GuardMiddleware
from socket_server.limits.connections import ConnectionLimits, key_of
from support.clock import Clock


class Connection:
    ended = False

    def shutdown(self, how):
        self.ended = True


@pytest.fixture
def clock():
    return Clock()


def new_gate(clock, **limits):
    return ConnectionLimits(Settings(trusted_proxies=networks("10.0.0.0/8"), **limits), clock)


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
    front = GuardMiddleware(app, settings, ConnectionLimits(settings, clock), slept.append)
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


def test_an_idle_connection_of_a_proxy_is_kept_for_its_next_client(clock):
    gate = new_gate(clock, connect_timeout=5.0)
    gate.admit(("10.0.0.1", 1), connection := Connection())
    gate.begin(("10.0.0.1", "1"), {})
    gate.end(("10.0.0.1", "1"))
    clock.tick(30)
    gate.look_after()
    assert not connection.ended
    clock.tick(31)
    gate.look_after()
    assert connection.ended


class Crowd:
    """Clients behind a front, each request with an environment of its own."""

    def __init__(self, app=None, **limits):
        limits = {"trusted_proxies": networks("10.0.0.0/8"), **limits}
        self.slept = []
        settings = Settings(**limits)
        self.gate = ConnectionLimits(settings)
        self.front = GuardMiddleware(app or App(), settings, self.gate, self.slept.append)

    def ask(self, client, *, peer="10.0.0.1", finish=True, **environ):
        base = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": peer, "REMOTE_PORT": "1", "HTTP_HOST": "me"}
        base |= {"wsgi.url_scheme": "http", "wsgi.input": io.BytesIO()}
        if client:
            base["HTTP_X_FORWARDED_FOR"] = client
        statuses = []
        answer = self.front({**base, **environ}, lambda status, _: statuses.append(status[:3]))
        if finish:
            b"".join(answer)
            answer.close()
        return statuses[0]


WEBSOCKET = {"HTTP_UPGRADE": "websocket", "HTTP_SEC_WEBSOCKET_VERSION": "13"}
POLL = {"PATH_INFO": "/socket.io/", "QUERY_STRING": "EIO=4&transport=polling"}


@pytest.mark.parametrize("request_", [WEBSOCKET, POLL, {}], ids=["websocket", "polling", "plain"])
@pytest.mark.parametrize("peer", ["10.0.0.1", "5.5.5.5"], ids=["proxied", "direct"])
def test_requests_of_each_kind_are_limited_by_the_address_of_their_client(request_, peer):
    crowd = Crowd(connects_per_second=5.0)
    asked = [crowd.ask("5.5.5.5", peer=peer, **request_) for _ in range(200)]
    assert asked.count("200") in range(5, 8)
    assert set(asked) == {"200", "429"}
    assert crowd.ask("6.6.6.6", **request_) == "200", "another client of the same connection"


def test_an_address_that_a_client_makes_up_is_no_other_address():
    crowd = Crowd(connects_per_second=5.0)
    chains = [f"7.7.7.{number}, 5.5.5.5" for number in range(100)]
    assert [crowd.ask(chain, **WEBSOCKET) for chain in chains].count("429") > 90


def test_clients_of_one_ipv6_network_count_as_one():
    crowd = Crowd(connects_per_second=5.0)
    asked = [crowd.ask(f"2001:db8::{number:x}", **WEBSOCKET) for number in range(100)]
    assert asked.count("429") > 90
    assert crowd.ask("2001:db8:0:1::1", **WEBSOCKET) == "200"


@pytest.mark.parametrize("chain", [None, "rubbish"])
def test_what_a_proxy_does_not_tell_counts_as_its_own(chain):
    crowd = Crowd(connects_per_second=5.0)
    assert [crowd.ask(chain, **WEBSOCKET) for _ in range(100)].count("429") > 90
    assert crowd.ask("5.5.5.5", **WEBSOCKET) == "200"


def test_so_many_requests_of_one_client_are_answered_at_once():
    crowd = Crowd(max_connections_per_address=3)
    asked = [crowd.ask("5.5.5.5", finish=False) for _ in range(5)]
    assert asked == ["200", "200", "200", "429", "429"]
    assert crowd.slept.count(1.0) == 0, "who has too many open is not made to wait: that holds one"
    assert crowd.ask("6.6.6.6") == "200"


def test_an_answer_that_fails_is_over():
    class Failing:
        def __call__(self, environ, start_response):
            raise OSError

    crowd = Crowd(Failing(), max_connections_per_address=1)
    for _ in range(3):
        with pytest.raises(OSError, match=r"^$"):
            crowd.ask("5.5.5.5")


class Accepted(Connection):
    """A connection that gunicorn has accepted, on a Unix socket."""

    def setsockopt(self, *option):
        raise OSError


def test_a_connection_that_gunicorn_accepted_is_known_while_it_has_a_request(clock):
    gate = new_gate(clock, connect_timeout=5.0)
    environ = {"REMOTE_ADDR": "1.2.3.4", "REMOTE_PORT": "1", "gunicorn.socket": Accepted()}
    gate.begin(key_of(environ), environ, 5.0)
    assert len(gate) == 1
    clock.tick(5.1)
    gate.look_after()
    assert environ["gunicorn.socket"].ended
    gate.end(key_of(environ))
    assert len(gate) == 0


@pytest.mark.parametrize("last", [True, False])
def test_gunicorn_waits_for_no_client_to_close_after_its_last_request(clock, last):
    gate = new_gate(clock)
    for unix in ({}, {"REMOTE_ADDR": "1.2.3.4", "REMOTE_PORT": "1"}):
        environ = {"gunicorn.socket": Accepted(), **unix}
        gate.begin(key_of(environ), environ)
        gate.end(key_of(environ), last=last)
        assert environ["gunicorn.socket"].ended is last


def test_a_post_that_asks_for_a_websocket_has_no_more_time_than_others(clock):
    class ReadsTheBody:
        def __call__(self, environ, start_response):
            clock.tick(5.1)
            gate.look_after()
            return [b""]

    gate = ConnectionLimits(Settings(connect_timeout=5.0), clock)
    front = GuardMiddleware(ReadsTheBody(), Settings(connect_timeout=5.0), gate, lambda _: None)
    gate.admit(("1.2.3.4", 1), connection := Connection())
    environ = {"REQUEST_METHOD": "POST", "REMOTE_ADDR": "1.2.3.4", "REMOTE_PORT": "1", **WEBSOCKET}
    front(environ, lambda *_: None).close()
    assert connection.ended
