"""When the silence of a task means something: only while something was heard lately."""

from __future__ import annotations

import pytest
import socketio
from amqp.exceptions import AccessRefused

from socket_server.bus.jobs_manager import PROBE_NAMESPACE as NAMESPACE
from socket_server.liveness.event_path import EventPath, Prober
from support.clock import Clock


def path(stalled_after=8.0):
    clock = Clock(0.0)
    return EventPath(stalled_after, clock), clock


def looks(path, clock, seconds, *, count=None, listening=True):
    """Look every second; ``count`` says what has come by then; return when the state changed."""
    changes = []
    for _ in range(seconds):
        clock.now += 1
        if path.look(count(clock.now) if count else 0, listening=listening):
            changes.append(clock.now)
    return changes


def test_it_is_open_once_something_came_and_while_something_comes():
    one, clock = path()
    assert not one.is_open
    assert looks(one, clock, 100, count=int) == []
    assert one.is_open
    assert not one.disturbed


def test_it_is_disturbed_once_nothing_came_for_half_of_what_makes_a_task_stalled():
    one, clock = path(8.0)
    looks(one, clock, 10, count=int)
    assert looks(one, clock, 20, count=lambda _: 10) == [15]
    assert not one.is_open
    assert looks(one, clock, 3, count=int) == [31]
    assert one.is_open


def test_what_is_read_of_the_past_proves_nothing():
    one, clock = path()
    looks(one, clock, 3, count=int, listening=False)
    looks(one, clock, 1, count=int)  # some of it may be of the past
    assert not one.is_open
    looks(one, clock, 1, count=int)
    assert one.is_open


def test_a_server_that_starts_while_publishers_are_blocked_hears_nothing():
    one, clock = path(8.0)
    assert looks(one, clock, 30) == [5]
    assert not one.is_open


def test_a_broker_that_is_away_disturbs_it_as_well():
    one, clock = path(8.0)
    looks(one, clock, 10, count=int)
    assert looks(one, clock, 10, count=lambda _: 10, listening=False) == [15]


def test_a_pause_of_the_server_itself_does_not():
    one, clock = path(8.0)
    looks(one, clock, 10, count=int)
    clock.now += 1000
    assert not one.look(10, listening=True)
    assert one.is_open


def test_a_server_that_may_not_publish_trusts_its_connection():
    one, clock = path()
    one.probing = False
    assert looks(one, clock, 100) == []
    assert one.is_open


class Writer:
    def __init__(self, error=None):
        self.error, self.sent = error, []

    def emit(self, event, data, namespace, room):
        self.sent.append((event, data, namespace, room))
        if self.error:
            raise self.error


def test_a_probe_goes_where_servers_that_do_not_know_it_have_no_clients():
    one, _ = path()
    writer = Writer()
    Prober(writer, "me", one).probe()
    assert writer.sent == [("probe", None, NAMESPACE, "me")]
    assert one.probing


def test_a_server_of_python_socketio_sends_a_probe_to_nobody():
    sent = []
    server = socketio.Server(client_manager=socketio.PubSubManager(), async_mode="threading")
    server._send_eio_packet = lambda *packet: sent.append(packet)
    message = {"method": "emit", "event": "probe", "data": [None], "binary": False}
    server.manager.set_server(server)
    server.manager._handle_emit({**message, "namespace": NAMESPACE, "room": "me"})
    assert sent == []


@pytest.mark.parametrize(
    ("error", "probing"),
    [
        (AccessRefused("no"), False),
        (AccessRefused("ACCESS_REFUSED - Login was refused"), True),
        (TimeoutError(), True),
        (OSError(), True),
    ],
)
def test_only_a_refused_right_ends_probing(error, probing):
    one, _ = path()
    prober = Prober(Writer(error), "me", one)
    for _ in range(2):
        prober.probe()
    assert one.probing is probing


def test_one_probe_is_on_its_way_at_a_time():
    one, _ = path()
    nested = []

    class Slow(Writer):
        def emit(self, *arguments, **options):
            super().emit(*arguments, **options)
            nested.append(prober.probe())

    prober = Prober(Slow(), "me", one)
    prober.probe()
    assert nested == [None]
    assert len(prober._writer.sent) == 1
