"""Whatever comes in: no exception that nobody handles, neither from a client nor from the bus.

``FUZZ_EXAMPLES=100000`` runs it at length.
"""

from __future__ import annotations

import json
import os

from engineio import packet as eio_packet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge import tokens
from bridge.errors import EventError
from bridge.protocol.event import TYPES, Event
from bridge.protocol.snapshot import Snapshot
from socket_server.messages.packet_checks import are_packets, is_packet
from socket_server.watching.job_lookup import StoredJob
from support.lone_server import SECRET, LoneClient, new_lone_server

at_length = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["watch", "unwatch", "jobs", "cancel", "enqueue", "refresh", "connect", "x"]
)
PAYLOADS = JSON | st.fixed_dictionaries(
    {},
    optional={
        "job": JSON,
        "cursor": JSON,
        "limit": JSON,
        "state": JSON,
        "name": JSON | st.just("support.add"),
        "args": JSON,
        "kwargs": JSON,
        "token": JSON,
    },
)
HEADS = st.from_regex(r"\A[0-9]?([0-9]{0,12}-)?(/jobs|/x|/)?(\?[a-z]*)?,?[0-9]{0,4}\Z")
REQUESTS = st.builds(
    lambda name, payload: f"2/jobs,7{json.dumps([name, payload])}", NAMES, PAYLOADS
)
RUBBISH = st.builds(lambda head, tail: head + tail, HEADS, JSON.map(json.dumps) | st.text())
MESSAGES = st.one_of(REQUESTS, RUBBISH, st.text(), st.binary(max_size=50))


def a_server():
    server = new_lone_server(requests_per_second=1e9, owner_requests_per_second=1e9, tasks=("*",))
    # What is enqueued and cancelled is not what is tested here.
    server.jobs._bridge.enqueue = lambda *_, **__: (_ for _ in ()).throw(EventError("no"))
    server.jobs._lookup.find = lambda job, grant: StoredJob({"state": "succeeded"})
    return server


SERVER = a_server()
TOKEN = tokens.sign([SECRET], owner="me", scope="watch cancel enqueue", ttl=10**6)


@at_length
@given(st.lists(MESSAGES, min_size=1, max_size=5), st.booleans())
def test_whatever_a_client_sends_raises_nothing(messages, known):
    client = LoneClient(SERVER)
    if known:
        client.connect(TOKEN)
    for message in messages:
        if client.gone:
            break
        client.say(message)
        assert not any("internal" in packet for packet in client.told())
    if not client.gone:
        client.pipe.close()
    SERVER.sio.eio.sockets.pop(client.sid, None)


@at_length
@given(MESSAGES, st.text(max_size=1))
def test_whatever_passes_the_wire_can_be_read_by_python_engineio(message, kind):
    whole = message if isinstance(message, bytes) else kind + message
    if is_packet(whole):
        eio_packet.Packet(encoded_packet=whole)
    are_packets(whole if isinstance(whole, bytes) else whole.encode("utf-8", "surrogatepass"))


EVENTS = st.fixed_dictionaries(
    {"v": st.just(1), "job": st.text(), "task": st.text(), "at": JSON},
    optional={
        "type": st.sampled_from(sorted(TYPES)) | JSON,
        "name": JSON,
        "owner": JSON,
        "run": JSON,
        "seq": JSON,
        "tick": JSON,
        "data": JSON,
    },
)
DATA = (
    "total more bars lines chunks error reason attempt meta queue retry_at result verdict dropped "
    "eta silent expires_at"
)
PROBABLE = st.fixed_dictionaries(
    {
        "v": st.just(1),
        "job": st.just("j"),
        "task": st.sampled_from(["a", "b"]),
        "type": st.sampled_from(sorted(TYPES)),
        "at": st.floats(0, 10**9),
        "name": st.text(max_size=5),
        "owner": st.none() | st.just("me"),
        "run": st.integers(0, 3),
        "seq": st.integers(0, 3),
        "tick": st.integers(0, 3),
        "data": st.dictionaries(
            st.sampled_from(DATA.split()),
            JSON,
        ),
    }
)


@at_length
@given(st.lists(EVENTS | PROBABLE | JSON, max_size=8))
def test_whatever_comes_over_the_bus_is_an_event_or_refused(messages):
    snapshot = Snapshot("j")
    for message in messages:
        try:
            event = Event.decode(message)
        except EventError:
            continue
        if event.job == "j":
            snapshot.apply(event)
            json.dumps(snapshot.encode())


@at_length
@given(st.lists(EVENTS | PROBABLE | JSON, max_size=8), st.text(max_size=10) | st.just("job:j"))
def test_whatever_a_message_of_the_bus_says_the_manager_takes_or_refuses_it(messages, room):
    for message in messages:
        body = {"method": "emit", "namespace": "/jobs", "event": "job", "room": room}
        SERVER.manager._handle_emit({**body, "data": [message]})
