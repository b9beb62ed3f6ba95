"""Answers: composed piece by piece, of which little is held, and whole or not at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.protocol.event import Event
from socket_server.journal.journal import Journal
from socket_server.messages.answer import PIECE, Answer, Body, Encoded
from socket_server.messages.excerpt import Forgotten


def event(seq, text="x", job="j"):
    data = {"lines": [{"message": text}]}
    return Event(job=job, task=job, type="log", run=1, seq=seq, at=1.0, owner="o", data=data)


def journal_of(texts, **options):
    journal = Journal(epoch="e", **options)
    for seq, text in enumerate(texts):
        journal.fold(event(seq, text))
    return journal


def pieces(answer, most=PIECE):
    while not answer.done:
        yield answer.piece(most)


def frames(answer, most=PIECE):
    while not answer.done:
        yield answer.frame(most)


def payload(frame):
    begin = {126: 4, 127: 10}.get(frame[1], 2)
    return frame[begin:]


@given(st.lists(st.text(max_size=40), max_size=12), st.integers(1, 60), st.integers(0, 12))
def test_whatever_the_size_of_a_piece_all_of_it_is_the_answer(texts, most, seen):
    journal = journal_of(["begin", *texts])
    cursor = journal.view("j").cursor if not seen else None
    whole = journal.view("j", cursor).events
    answer = Answer("3/jobs,7", journal.view("j", cursor).encode(ok=True))
    taken = list(pieces(answer, most))
    assert all(0 < len(piece) <= most for piece in taken)
    told = b"".join(taken).decode()
    assert told.startswith("43/jobs,7[{")
    [decoded] = json.loads(told.removeprefix("43/jobs,7"))
    assert decoded["ok"]
    assert decoded["events"] == whole
    assert decoded["snapshot"] == journal.snapshot("j")


def test_a_large_answer_is_one_message_of_many_frames_and_a_small_one_of_one():
    small = Answer("3/jobs,7", Body({"ok": True}))
    assert list(frames(small)) == [b"\x81\x16" + b'43/jobs,7[{"ok":true}]']
    large = Answer("3/jobs,7", journal_of(["x" * 5_000] * 20).view("j").encode())
    sent = list(frames(large))
    assert len(sent) > 10
    assert [frame[0] for frame in sent] == [0x01, *[0x00] * (len(sent) - 2), 0x80]
    assert max(map(len, sent)) <= PIECE + 4
    json.loads(b"".join(map(payload, sent)).removeprefix(b"43/jobs,7"))


def test_an_answer_holds_none_of_the_events_that_it_tells():
    view = journal_of(["x" * 8_000] * 500).view("j")
    answer = Answer("3/jobs,7", view.encode())
    assert answer.size < 2_000
    next(pieces(answer))
    assert len(answer._text) <= PIECE + 8


def test_what_comes_while_it_is_written_is_not_in_it():
    journal = journal_of(["x" * 5_000] * 4)
    answer = Answer("3/jobs,7", journal.view("j").encode())
    taken = [next(pieces(answer))]
    journal.fold(event(4))
    told = b"".join([*taken, *pieces(answer)]).decode()
    [decoded] = json.loads(told.removeprefix("43/jobs,7"))
    assert [one["seq"] for one in decoded["events"]] == [0, 1, 2, 3]


def forget_events(journal):
    for seq in range(4, 9):
        journal.fold(event(seq))


def forget_job(journal):
    for number in range(3):
        journal.fold(event(0, job=f"other {number}"))


def forget_and_know_anew(journal):
    forget_job(journal)
    forget_events(journal)


@pytest.mark.parametrize(
    "forget", [forget_events, forget_job, forget_and_know_anew, Journal.restart]
)
def test_an_answer_that_cannot_be_finished_is_not_made_up(forget):
    journal = journal_of(["x" * 5_000] * 4, max_events=4, max_unfinished=2)
    answer = Answer("3/jobs,7", journal.view("j").encode())
    next(pieces(answer))
    forget(journal)
    with pytest.raises(Forgotten):
        list(pieces(answer))


def test_a_payload_is_composed_of_what_is_json_already():
    body = Body({"ok": True, "jobs": [Encoded('{"a":1}'), Encoded('{"b":[]}')], "next": "1.0:j"})
    assert json.loads(body.head) == {"ok": True, "jobs": [{"a": 1}, {"b": []}], "next": "1.0:j"}
    assert body.size == len(body.head)
