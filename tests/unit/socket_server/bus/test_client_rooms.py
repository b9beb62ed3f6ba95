"""``ClientRooms``: what it costs, and what is left, when a client leaves."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
from socketio.base_manager import BaseManager

from socket_server.bus.client_rooms import ClientRooms


class Unread(dict):
    """Rooms by name, which nobody looks through."""

    def items(self):
        raise AssertionError("all rooms were looked through")

    copy = values = keys = __iter__ = items


@pytest.fixture
def manager():
    manager = ClientRooms(write_only=True)
    ids = iter(range(10_000))
    manager.server = SimpleNamespace(eio=SimpleNamespace(generate_id=lambda: f"sid-{next(ids)}"))
    return manager


def connect(manager, number, namespace="/jobs"):
    return manager.connect(f"eio-{number}", namespace)


def test_a_client_that_leaves_costs_no_look_through_all_rooms(manager):
    clients = [connect(manager, number) for number in range(100)]
    for number, sid in enumerate(clients):
        manager.basic_enter_room(sid, "/jobs", f"job:{number}")
        manager.basic_enter_room(sid, "/jobs", "owner:all")
    manager.rooms["/jobs"] = Unread(manager.rooms["/jobs"])
    for sid in clients[1:]:
        manager.pre_disconnect(sid, "/jobs")
        assert set(manager.get_rooms(sid, "/jobs")) > {sid, "owner:all"}
        manager.basic_disconnect(sid, "/jobs")
    rooms = dict.keys(manager.rooms["/jobs"])
    assert rooms == {None, clients[0], "job:0", "owner:all"}
    assert manager.is_connected(clients[0], "/jobs")


def test_nothing_is_left_of_the_last_client(manager):
    for namespace in ("/jobs", "/chat"):
        sid = connect(manager, 1, namespace)
        manager.basic_enter_room(sid, namespace, "a room")
        manager._generate_ack_id(sid, print)
        manager.basic_leave_room(sid, namespace, "a room")
        manager.basic_leave_room(sid, namespace, "a room that it is not in")
        manager.pre_disconnect(sid, namespace)
        manager.basic_disconnect(sid, namespace)
        manager.basic_disconnect(sid, namespace)
        assert manager.get_rooms(sid, namespace) == []
    pending = manager.pending_connect, manager.pending_disconnect
    assert (manager.rooms, manager.callbacks, *pending, manager._rooms_of) == ({}, {}, {}, {}, {})


def test_a_client_that_is_refused_while_it_connects_leaves_nothing(manager):
    sid = manager.pre_connect("eio-1", "/jobs")
    manager.basic_disconnect(sid, "/jobs")
    assert (manager.rooms, manager.pending_connect, manager._rooms_of) == ({}, {}, {})


def test_a_closed_room_has_no_clients(manager):
    sid = connect(manager, 1)
    manager.basic_enter_room(sid, "/jobs", "job:1")
    manager.basic_close_room("job:1", "/jobs")
    assert manager.get_rooms(sid, "/jobs") == [sid]


def test_python_socketio_removes_nothing_else_of_a_client():
    lines = inspect.getsource(BaseManager.basic_disconnect).splitlines()
    changed = {line.split("#")[0].strip() for line in lines if "del " in line or ".remove(" in line}
    assert changed == {
        "del self.callbacks[sid]",
        "self.pending_connect[namespace].remove(sid)",
        "del self.pending_connect[namespace]",
        "self.pending_disconnect[namespace].remove(sid)",
        "del self.pending_disconnect[namespace]",
    }
