"""Draining: clients are told when they have to go, and then sent away, each at its own time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from socket_server import draining
from socket_server.draining import Draining
from socket_server.http.health import Health
from support.clock import Clock
from support.wire import flaws


class Server:
    """As much of a server as is used: time passes while it sleeps."""

    def __init__(self, clock, clients):
        self._clock, self.told, self.left = clock, {}, {}
        names = [f"c{number}" for number in range(clients)]
        self.eio = SimpleNamespace(sockets={one: self._socket(one) for one in names})
        self.manager = SimpleNamespace(sid_from_eio_sid=lambda one, _: one)
        self.began = clock.now

    def _socket(self, one):
        def close(wait, abort):
            assert (wait, abort) == (False, True)
            self.left[one] = self._clock.now - self.began
            del self.eio.sockets[one]

        return SimpleNamespace(close=close)

    def emit(self, event, told, to, **_):
        assert (event, flaws(told, "Draining")) == ("draining", [])
        self.told[to] = told["after"]

    def sleep(self, seconds):
        self._clock.tick(seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(draining.time, "monotonic", clock)
    return clock


def test_each_client_is_told_when_it_has_to_go_and_goes_then(clock):
    server = Server(clock, 200)
    assert Draining(server, 10.0).run() == 200
    assert server.left.keys() == server.told.keys()
    assert all(abs(server.left[one] - server.told[one]) < 0.1 for one in server.told)
    for tenth in range(10):
        share = [one for one in server.left.values() if tenth <= one < tenth + 1]
        assert 5 <= len(share) <= 45


def test_one_without_clients_is_done_at_once(clock):
    assert Draining(Server(clock, 0), 10.0).run() == 0
    assert clock.now == 1000.0


def test_who_is_in_a_hurry_sends_all_away_at_once(clock):
    server = Server(clock, 50)
    drain = Draining(server, 1000.0)
    drain.hurry = True
    drain.run()
    assert len(server.left) == 50
    assert clock.now == 1000.0


def test_a_server_says_why_no_client_should_be_sent_to_it():
    health = Health(SimpleNamespace(alive=True, ready=True, replayed=1.0))
    assert (health.illness(), health.objection()) == (None, None)
    health.draining = True
    assert health.illness() is None
    assert "draining" in health.objection()
    behind = Health(SimpleNamespace(alive=True, ready=False, replayed=0.25))
    assert "25%" in behind.objection()
    away = Health(SimpleNamespace(alive=False, ready=True, replayed=1.0))
    assert away.illness() == away.objection() == "the broker is not being listened to"
