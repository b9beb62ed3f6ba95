"""Server-sent events: what a client of the standard reads in them is what the server says."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import EVENT, Packet

from bridge.protocol.event import Event
from socket_server.journal.journal import Journal
from socket_server.messages.server_sent import (
    EventStreamAnswer,
    end,
    split_id,
    translated,
)
from support.event_stream import parsed


def read(text):
    return list(parsed(text.split("\n")))


def packet(*data):
    return Packet(EVENT, namespace="/jobs", data=list(data)).encode()


def journal_of(texts):
    journal = Journal(epoch="e")
    for seq, text in enumerate(texts):
        data = {"lines": [{"message": text}]}
        journal.fold(
            Event(job="j", task="j", type="log", run=1, seq=seq, at=1.0, owner="o", data=data)
        )
    return journal


def streamed(answer, most):
    pieces = []
    while not answer.done:
        pieces.append(answer.piece(most))
    assert all(len(piece) <= most for piece in pieces)
    return b"".join(pieces).decode()


@given(st.lists(st.text(max_size=40), min_size=1, max_size=9), st.integers(1, 500), st.integers())
def test_a_stream_begins_with_the_snapshot_and_goes_on_with_each_event(texts, most, seen):
    journal = journal_of(texts)
    view = journal.view("j")
    whole = view.events
    cursor = whole[seen % len(whole)]["cursor"] if seen % 2 else None
    ids = []
    answer = EventStreamAnswer(journal.view("j", cursor).encode(ok=True))
    first, *events = parsed(streamed(answer, most).split("\n"), "", ids.append)
    assert (first.event, first.id) == ("snapshot", "")
    assert first.data["snapshot"] == journal.snapshot("j")
    assert first.data["recovered"]
    assert "events" not in first.data
    assert [one.data for one in events] == journal.view("j", cursor).events
    assert [one.id for one in events] == [one.data["cursor"] for one in events]
    assert ids[-1] == view.cursor, "a client that has all events comes back with the last cursor"


@given(st.text(max_size=30), st.text(max_size=30))
def test_an_applications_own_event_is_a_push_whatever_its_name(name, value):
    told = translated(packet(f"own {name}", {"value": value}))
    [one] = read(told.data.decode())
    assert (one.event, one.data) == ("push", {"event": f"own {name}", "data": [{"value": value}]})
    assert not told.is_last


def test_an_event_of_a_job_has_its_cursor_as_id():
    event = {"job": "j", "data": {"cursor": "another"}, "cursor": "e:1.2"}
    [one] = read(translated(packet("job", event)).data.decode())
    assert (one.event, one.id, one.data) == ("job", "e:1.2", event)


def test_a_notice_of_the_server_has_its_own_name():
    [one] = read(translated(packet("draining", {"after": 1.5})).data.decode())
    assert (one.event, one.data) == ("draining", {"after": 1.5})


def test_a_disconnect_is_told_and_is_the_last_event():
    told = translated("1/jobs,")
    [one] = read(told.data.decode())
    assert (one.event, one.data["code"], one.data["temporary"]) == (
        "refused",
        "unauthorized",
        False,
    )
    assert told.is_last


def test_another_packet_is_left_out():
    assert translated('3/jobs,1[{"ok":true}]').data == b""


def test_the_id_of_the_end_is_the_cursor_and_that_the_end_was_told():
    for cursor in ("e:1.2", None):
        [one] = read(end("lost", cursor).decode())
        assert (one.event, one.data) == ("end", {"state": "lost"})
        assert split_id(one.id) == (cursor, True)
    assert split_id("e:1.2") == ("e:1.2", False)
    assert split_id(None) == (None, False)


def test_json_is_on_one_line():
    told = translated(packet("job", {"text": "a\nb\r\u2028", "cursor": "e:1.2"})).data.decode()
    assert told.count("\n") == 4
    assert "\r" not in told
    assert json.loads(told.split("data: ")[1])["text"] == "a\nb\r\u2028"
