"""What comes over the bus: events pass, everything else on /jobs is refused and counted."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
import socketio

from bridge.protocol.event import MAX_EVENT_BYTES, Event
from bridge.settings import Settings
from socket_server.bus.decoding import Decoded
from socket_server.bus.kombu_manager import KombuJobsManager
from socket_server.bus.managers import new_manager
from socket_server.bus.redis_manager import RedisJobsManager

GOOD = Event(job="j", task="t", type="started", at=1.5).encode()
DEEP = []
for _ in range(100_000):
    DEEP = [DEEP]


class Manager(KombuJobsManager):
    """Keeps what would have been sent to its clients."""

    def __init__(self):
        super().__init__(Settings(broker_url="memory://"))
        self.events, self.delivered, self.applied = [], [], []
        self.on_event = lambda event, offset, **_: self.events.append(event)

    def deliver(self, event, data, room, skip=None):
        self.delivered.append((event, data, room))


@pytest.fixture
def manager(monkeypatch):
    manager = Manager()
    manager.server = SimpleNamespace(
        logger=logging.getLogger("socketio.server"),
        disconnect=lambda **_: manager.applied.append("disconnect"),
    )
    for command in ("emit", "close_room", "enter_room", "leave_room"):
        monkeypatch.setattr(
            socketio.Manager,
            command,
            lambda self, *a, command=command, **k: self.applied.append(command),
        )
    monkeypatch.setattr(socketio.Manager, "is_connected", lambda *_: True)
    monkeypatch.setattr(
        socketio.Manager, "trigger_callback", lambda self, *_: self.applied.append("callback")
    )
    return manager


def receive(manager, **message):
    """Let a message of the bus through, by python-socketio's own dispatcher if that is its way."""
    listen(manager, [{"host_id": "another server", **message}])


def listen(manager, messages):
    """Let python-socketio's thread read so many messages of the bus."""

    def consume():
        yield from map(Decoded, messages)
        raise SystemExit

    manager._consume = consume
    with pytest.raises(SystemExit):
        manager._thread()


def emitted(**changes):
    message = {
        "method": "emit", "event": "job", "data": [GOOD], "namespace": "/jobs", "room": "job:j",
        "binary": False, "skip_sid": None, "callback": None,
    }  # fmt: skip
    return {**message, **changes}


def test_an_event_for_the_room_of_its_job_is_handed_over(manager):
    receive(manager, **emitted())
    assert manager.events == [Event.decode(GOOD)]
    assert (manager.delivered, manager.refused) == ([], 0)


def test_what_this_server_itself_has_published_is_not_handled_again(manager):
    receive(manager, **emitted(host_id=manager.host_id))
    assert (manager.events, manager.delivered, manager.refused) == ([], [], 0)


def test_a_message_that_cannot_be_handled_does_not_end_the_reading(manager, caplog):
    take = manager.on_event

    def fail_once(*arguments, **options):
        manager.on_event = take
        raise OSError("full")

    manager.on_event = fail_once
    listen(manager, [{**emitted(), "host_id": "another server"}] * 2)
    assert manager.events == [Event.decode(GOOD)]
    assert "OSError: full" in caplog.text


@pytest.mark.parametrize("room", ["job:j", "owner:user-42"])
def test_an_applications_own_event_for_a_job_or_an_owner_is_delivered(manager, room):
    receive(manager, **emitted(event="notice", data=[{"a": 1}, 2], room=room))
    assert manager.delivered == [("notice", ({"a": 1}, 2), room)]
    assert (manager.events, manager.refused) == ([], 0)


POISON = {
    "the room of another job": {"room": "job:other"},
    "the room of an owner for an event": {"room": "owner:o"},
    "no room": {"room": None},
    "an empty room": {"room": ""},
    "a list of rooms": {"room": ["job:j"]},
    "an empty list of rooms": {"room": []},
    "a number as room": {"room": 7},
    "an object as room": {"room": {"job": "j"}},
    "somebody's sid as room": {"room": "vEQ1sYJ0Hq"},
    "a room of no prefix": {"room": "jobs"},
    "two events in one": {"data": [GOOD, GOOD]},
    "no event": {"data": []},
    "an event that is not a list": {"data": GOOD},
    "data that is nothing": {"data": None},
    "data that is text": {"data": "text"},
    "an event of another version": {"data": [{**GOOD, "v": 2}]},
    "an event of an unknown type": {"data": [{**GOOD, "type": "x"}]},
    "an event without a task": {"data": [{**GOOD, "task": None}]},
    "a bar that is not a number": {
        "data": [{**GOOD, "data": {"bars": [{"position": 0, "n": float("nan")}]}}]
    },
    "infinity somewhere": {"data": [{**GOOD, "data": {"result": float("inf")}}]},
    "an event that is too large": {"data": [{**GOOD, "data": {"x": "x" * MAX_EVENT_BYTES}}]},
    "an event that is too deep": {"data": [{**GOOD, "data": {"x": DEEP}}]},
    "bytes": {"data": [b"x"]},
    "a binary event": {"binary": True},
    "an application's event to everyone": {"event": "notice", "room": None},
    "an application's event to a list": {"event": "notice", "room": []},
    "an application's event that is binary": {"event": "notice", "binary": True, "data": [b"x"]},
    "an application's event that is too large": {
        "event": "notice", "data": ["x" * MAX_EVENT_BYTES]
    },
    "the protocol's connect": {"event": "connect"},
    "the protocol's disconnect": {"event": "disconnect"},
    "the protocol's connect_error": {"event": "connect_error"},
    "the server's token_expiring": {"event": "token_expiring"},
    "the server's draining": {"event": "draining"},
    "a name that is no string": {"event": ["job"]},
    "a name that is nothing": {"event": None},
}  # fmt: skip


@pytest.mark.parametrize("poison", POISON.values(), ids=POISON)
def test_poison_is_refused_counted_and_logged_without_its_content(manager, poison, caplog):
    receive(manager, **emitted(**poison))
    assert (manager.events, manager.delivered, manager.applied) == ([], [], [])
    assert manager.refused == 1
    assert len(caplog.text) < 1000


COMMANDS = {
    "disconnect": {"sid": "s"},
    "enter_room": {"sid": "s", "room": "job:j"},
    "leave_room": {"sid": "s", "room": "job:j"},
    "close_room": {"room": "job:j"},
}


@pytest.mark.parametrize("method", COMMANDS)
def test_nobody_disconnects_or_moves_clients_of_jobs_over_the_bus(manager, method):
    receive(manager, method=method, namespace="/jobs", **COMMANDS[method])
    assert (manager.applied, manager.refused) == ([], 1)


def test_nobody_answers_for_a_client_of_jobs_over_the_bus(manager):
    host = manager.host_id
    receive(manager, method="callback", namespace="/jobs", sid="s", id=1, args=[], host_id=host)
    assert (manager.applied, manager.refused) == ([], 1)


@pytest.mark.parametrize("method", COMMANDS)
def test_in_an_applications_own_namespace_the_commands_work_as_always(manager, method):
    receive(manager, method=method, namespace="/chat", **COMMANDS[method])
    assert (manager.applied, manager.refused) == ([method], 0)


@pytest.mark.parametrize("room", [None, "lobby"])
def test_in_an_applications_own_namespace_events_pass_as_always(manager, room):
    receive(manager, **emitted(namespace="/chat", event="message", data="hi", room=room))
    assert (manager.applied, manager.refused) == (["emit"], 0)


def test_a_server_may_disconnect_and_close_rooms_of_its_own_clients(manager):
    for method in ("disconnect", "close_room"):
        message = {"namespace": "/jobs", "host_id": manager.host_id, **COMMANDS[method]}
        getattr(manager, f"_handle_{method}")(message)
    assert (manager.applied, manager.refused) == (["disconnect", "close_room"], 0)


@pytest.mark.parametrize("namespace", [None, "", "/", "/JOBS", "jobs", "/jobs/", ["/jobs"], 7])
def test_a_namespace_that_only_looks_like_jobs_gets_nothing_into_it(manager, namespace):
    receive(manager, **emitted(namespace=namespace))
    assert (manager.events, manager.delivered) == ([], [])


def test_the_broker_decides_the_kind_of_manager():
    kinds = [
        ("amqp://localhost//", KombuJobsManager),
        ("redis://localhost", RedisJobsManager),
        (None, KombuJobsManager),
    ]
    for url, kind in kinds:
        manager = new_manager(Settings(broker_url=url))
        assert type(manager) is kind
        assert not manager.alive
