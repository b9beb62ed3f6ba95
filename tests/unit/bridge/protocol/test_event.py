"""An event: what travels comes back equal, and what is no event is refused as such."""

from __future__ import annotations

import base64
import json
import math
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import EventError
from bridge.protocol.event import (
    MAX_RESULT_BYTES,
    TERMINAL,
    TYPES,
    Event,
    finite_json,
    room_of_job,
    room_of_owner,
)

GOOD = Event(job="j", task="t", type="started", at=1.5).encode()

names = st.text(min_size=1, max_size=255)
counters = st.integers(0, 2**63 - 1)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
bars = st.fixed_dictionaries(
    {"position": st.integers(0, 40), "n": st.integers(-(10**15), 10**15)},
    optional={"total": st.none() | st.floats(0, 1e15), "desc": st.text(), "eta": st.none()},
)


def encoded(chunk):
    """Return bytes as they travel in the place of text."""
    return {"base64": base64.b64encode(chunk).decode()}


data = st.fixed_dictionaries(
    {},
    optional={
        "total": counters,
        "dropped": counters,
        "attempt": counters,
        "bars": st.lists(bars, max_size=3),
        "lines": st.lists(st.fixed_dictionaries({"message": st.text()}), max_size=3),
        "chunks": st.lists(st.text() | st.builds(encoded, st.binary()), max_size=3),
        "meta": st.dictionaries(st.text(), json_values, max_size=3),
        "error": st.dictionaries(st.text(), st.text(), max_size=2),
        "result": json_values,
    },
)
events = st.builds(
    Event,
    job=names,
    task=names,
    type=st.sampled_from(sorted(TYPES)),
    at=st.floats(0, 2**53 - 1),
    name=st.text(max_size=255),
    owner=st.none() | names,
    run=counters,
    seq=counters,
    tick=counters,
    data=data,
)
#: Anything at all that Python code, pickle or JSON could put where an event is expected.
hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
#: Numbers too large for a float, and other things that look like numbers.
odd_numbers = st.sampled_from([10**400, -(10**400), math.nan, math.inf, -math.inf, True, "1", 1j])


@given(events)
def test_an_event_travels_as_json_and_comes_back_equal(event):
    assert Event.decode(json.loads(finite_json(event.encode()))) == event


@given(hostile)
def test_what_is_no_event_raises_nothing_but_an_event_error(message):
    with pytest.raises(EventError):
        Event.decode(message)


@given(st.sampled_from(sorted(GOOD)), hostile | odd_numbers)
def test_a_hostile_field_raises_nothing_but_an_event_error(field, value):
    with suppress(EventError):
        Event.decode({**GOOD, field: value})


@given(
    st.sampled_from(["total", "dropped", "attempt", "bars", "lines", "chunks", "meta", "error"]),
    hostile | odd_numbers | st.lists(odd_numbers),
)
def test_hostile_data_raises_nothing_but_an_event_error(field, value):
    with suppress(EventError):
        Event.decode({**GOOD, "data": {field: value}})


def test_chunks_are_text_and_bytes_as_they_came():
    chunks = ["text", encoded(b"\xff"), "", encoded(b"")]
    event = Event(job="j", task="t", type="output", at=0, data={"chunks": chunks})
    told = Event.decode(json.loads(finite_json(event.encode()))).data["chunks"]
    assert told == ["text", {"base64": "/w=="}, "", {"base64": ""}]


@pytest.mark.parametrize("meta", [{}, {"": None}, {"a": [1, {"b": 0.5}], "c": "text"}])
def test_a_task_may_say_any_json_about_itself(meta):
    assert Event.decode({**GOOD, "data": {"meta": meta}}).data["meta"] == meta


def test_what_a_later_version_adds_is_ignored():
    assert Event.decode({**GOOD, "colour": "red"}) == Event.decode(GOOD)


def test_events_are_ordered_by_run_then_sequence_then_tick():
    places = [(0, 9, 9), (1, 0, 5), (1, 1, 0), (2, 0, 0)]
    events = [
        Event(job="j", task="t", type="log", at=0, run=run, seq=seq, tick=tick)
        for run, seq, tick in places
    ]
    assert all(earlier.order < later.order for earlier, later in pairwise(events))


def test_four_types_end_a_run():
    assert {
        kind for kind in TYPES if Event(job="j", task="t", type=kind, at=0).terminal
    } == TERMINAL
    assert {"succeeded", "failed", "cancelled", "lost"} == TERMINAL


@pytest.mark.parametrize("value", [math.nan, [math.inf], {"a": -math.inf}])
def test_numbers_that_json_has_not_are_refused(value):
    with pytest.raises(ValueError):
        finite_json(value)


def test_what_contains_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises((ValueError, RecursionError)):
        finite_json(loop)


def test_json_is_compact_so_that_a_result_of_the_allowed_size_fits():
    assert len(finite_json(["x" * (MAX_RESULT_BYTES - 4)])) == MAX_RESULT_BYTES


def test_rooms_of_jobs_and_owners_never_coincide():
    assert room_of_job("x") != room_of_owner("x")
