"""What was logged and printed, as text: byte for byte, and what is missing in words."""

from __future__ import annotations

import pytest

from bridge.protocol.event import Event
from socket_server.archive.entries import as_text, entries_of, lines_in, missing_before

RUN = 7


def event(kind, seq=1, run=RUN, **data):
    return Event(job="j", task="t", type=kind, at=5.0, run=run, seq=seq, data=data)


def line(message, level="INFO"):
    return {"at": 4.0, "level": level, "message": message}


def text_of(*events):
    entries = [entry for one in events for entry in entries_of(one, None)]
    return as_text(entries).decode()


def test_lines_are_as_they_were_logged_and_output_as_it_was_printed():
    logged = event("log", lines=[line("one"), line("two", "ERROR")])
    printed = event("output", chunks=["a\nb", {"base64": "w6k="}, "\n"])
    assert text_of(logged, printed, logged) == "one\ntwo\na\nbé\none\ntwo\n"


def test_a_line_after_output_without_a_line_end_begins_a_line():
    printed, logged = event("output", chunks=["50 %"]), event("log", lines=[line("next")])
    assert text_of(printed, logged, printed, printed) == "50 %\nnext\n50 %50 %"


def test_what_was_dropped_or_never_came_has_a_line_where_it_is_missing():
    entries = [*entries_of(event("log", lines=[line("a")], dropped=2), 1), *entries_of(
        event("succeeded", dropped=1), 0)]  # fmt: skip
    assert as_text(entries).decode().splitlines() == [
        "[taskbridge: 1 event is missing here]",
        "[taskbridge: 2 lines were dropped before being sent]",
        "a",
        "[taskbridge: some events are missing here]",
        "[taskbridge: 1 line was dropped before being sent]",
    ]
    assert lines_in(entries) == 1


def test_a_chunk_that_is_no_base64_is_left_out():
    assert text_of(event("output", chunks=["a", {"base64": "x"}, "b\n"])) == "ab\n"


def test_a_lone_surrogate_is_replaced():
    assert text_of(event("log", lines=[line("\ud800")])) == "?\n"


@pytest.mark.parametrize(
    ("kind", "run", "seq", "before", "missing"),
    [
        ("queued", 0, 0, (-1, -1, -1), None),
        ("started", RUN, 0, (0, 0, 0), None),
        ("log", RUN, 1, (RUN, 0, 3), None),
        ("progress", RUN, 0, (RUN, 0, 3), None),
        ("log", RUN, 3, (RUN, 0, 0), 2),
        ("progress", RUN, 2, (RUN, 0, 0), 2),
        ("log", RUN, 2, (0, 0, 0), 2),
        ("progress", RUN, 0, (0, 0, 0), 1),
        ("succeeded", RUN + 1, 0, (RUN, 4, 0), None),
        ("succeeded", RUN, 2**31 - 1, (RUN, 4, 0), 0),
    ],
)
def test_missing_events_are_counted_by_their_numbers(kind, run, seq, before, missing):
    assert missing_before(event(kind, seq, run), before) == missing


def test_lines_and_chunks_keep_the_names_of_their_steps_and_read_as_before():
    named = {"step_names": {"3": "load"}}
    logged = event("log", lines=[line("one"), {**line("two"), "step": 3}], **named)
    printed = event("output", chunks=["a", "b\n"], chunk_steps=[3, None], **named)
    entries = [entry for one in (logged, printed) for entry in entries_of(one, None)]
    assert [entry[4] for entry in entries] == [[None, "load"], ["load", None]]
    assert as_text(entries).decode() == "one\ntwo\nab\n"
    assert lines_in(entries) == 4
