"""A message that is published again is handled once."""

from __future__ import annotations

import json

import pytest
import socketio

from bridge import Settings
from bridge.bus.write_only_manager import Identifying
from socket_server.bus.duplicates import Duplicates


def test_the_second_copy_of_a_message_is_dropped_and_counted():
    seen = Duplicates()
    assert [seen.is_new(id) for id in ("a", "b", "a", "a", "b")] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert seen.dropped == 3


@pytest.mark.parametrize("id", [None, "", 7, ["a"], {"a": 1}, "x" * 256])
def test_what_identifies_nothing_is_always_new(id):
    seen = Duplicates()
    assert all(seen.is_new(id) for _ in range(3))
    assert len(seen) == 0


def test_only_the_newest_are_remembered():
    seen = Duplicates(most=100)
    for number in range(1000):
        assert seen.is_new(str(number))
    assert len(seen) == 100
    assert not seen.is_new("999")
    assert seen.is_new("0")


@pytest.mark.parametrize("data", [{"a": 1}, [1, 2], (1, 2), None])
@pytest.mark.parametrize("options", [{"room": "r"}, {"namespace": "/chat", "skip_sid": "s"}])
def test_a_message_is_what_python_socketio_sends_with_an_id_beside_it(data, options):
    class Ours(Identifying):
        def _publish_all(self, bodies):
            [self.message] = map(json.loads, bodies)

    class Stock(socketio.PubSubManager):
        def _publish(self, message):
            self.message = message

        def _handle_emit(self, message):
            pass

    ours, stock = Ours(write_only=True), Stock(write_only=True)
    stock.emit("notice", data, **options)
    ours.emit("notice", data, **options)
    expected = json.loads(json.dumps({**stock.message, "host_id": ours.host_id}))
    assert ours.message == expected
    ours.emit("notice", data, **options, id="one")
    assert ours.message == {**expected, "id": "one"}


def test_a_push_keeps_its_id_however_often_it_is_published(monkeypatch):
    from bridge.sending import emitter as module
    from bridge.sending.emitter import Emitter
    from bridge.sending.outbox import Push

    ids = []

    class Away:
        def emit_all(self, emissions):
            ids.extend(one.id for one in emissions)
            if len(ids) < 3:
                raise TimeoutError

    monkeypatch.setattr(module.Emitter, "_start", lambda self: None)
    emitter = Emitter(Settings())
    monkeypatch.setattr(emitter._publisher, "_writer", lambda shard: Away())
    emitter.push(Push("notice", 1, "/", "r", 0, None, "one"))
    for _ in range(3):
        emitter.cycle()
    assert ids == ["one"] * 3


def test_a_blocked_connection_is_kept_for_a_while_and_not_for_ever(monkeypatch):
    from bridge.bus import write_only_manager as module

    writer, now = module.KombuWriteOnlyManager(Settings(broker_url="amqp://127.0.0.1:1//")), [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    writer._on_blocked("memory")
    now[0] += module.BLOCKED_PATIENCE - 1
    writer._on_blocked("memory and disk")
    assert writer._is_blocked()
    now[0] += 1
    assert not writer._is_blocked()
    writer._on_unblocked()
    writer._on_blocked("memory")
    assert writer._is_blocked()
