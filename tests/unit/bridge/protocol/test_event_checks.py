"""What is no event is refused, and the message names the field."""

from __future__ import annotations

import math

import pytest

from bridge.errors import EventError
from bridge.protocol.event import Event

GOOD = Event(job="j", task="t", type="started", at=1.5).encode()
STEP = {"id": 1, "parent": None, "name": "s", "state": "running", "started_at": 1.5}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2),
        ("v", "1"),
        ("job", ""),
        ("job", 7),
        ("job", "j" * 256),
        ("task", None),
        ("task", ["t"]),
        ("type", "paused"),
        ("type", None),
        ("type", ["started"]),
        ("at", "now"),
        ("at", -1),
        ("at", math.nan),
        ("at", math.inf),
        ("at", 10**400),
        ("at", True),
        ("name", None),
        ("name", "n" * 256),
        ("owner", ""),
        ("owner", 7),
        ("run", -1),
        ("run", 1.0),
        ("run", True),
        ("run", 2**63),
        ("seq", None),
        ("seq", "0"),
        ("tick", math.nan),
        ("data", None),
        ("data", []),
        ("data", {1: 2}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_each_field_is_checked_and_named(field, value):
    with pytest.raises(EventError, match=rf"an event's {field} "):
        Event.decode({**GOOD, field: value})


@pytest.mark.parametrize("field", sorted(GOOD.keys() - {"owner"}))
def test_a_missing_field_is_named(field):
    message = {name: value for name, value in GOOD.items() if name != field}
    with pytest.raises(EventError, match=rf"an event's {field} "):
        Event.decode(message)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("total", -1),
        ("total", True),
        ("total", None),
        ("dropped", 1.5),
        ("dropped", math.nan),
        ("attempt", "2"),
        ("bars", {}),
        ("bars", [None]),
        ("bars", [{"n": 1}]),
        ("bars", [{"position": 0, "n": None}]),
        ("bars", [{"position": 0, "n": True}]),
        ("bars", [{"position": -1, "n": 0}]),
        ("lines", ["text"]),
        ("lines", [{"message": "m", "step": -1}]),
        ("bars", [{"position": 0, "n": 0, "step": "1"}]),
        ("steps", {}),
        ("steps", [7]),
        ("steps", [{**STEP, "id": -1}]),
        ("steps", [{**STEP, "id": True}]),
        ("steps", [{**STEP, "parent": "1"}]),
        ("steps", [{**STEP, "name": None}]),
        ("steps", [{**STEP, "state": "queued"}]),
        ("steps", [{**STEP, "state": []}]),
        ("steps", [{**STEP, "started_at": None}]),
        ("steps", [{**STEP, "ended_at": math.nan}]),
        ("steps", [{**STEP, "presumed": 1}]),
        ("steps_omitted", -1),
        ("chunk_steps", [1.5]),
        ("step_names", {"1": 2}),
        ("step_names", ["a"]),
        ("lines", [{"message": 7}]),
        ("lines", "text"),
        ("chunks", "text"),
        ("chunks", [b"bytes"]),
        ("chunks", [7]),
        ("chunks", ["text", None]),
        ("chunks", [{}]),
        ("chunks", [{"base64": b"eA=="}]),
        ("chunks", [{"base64": None}]),
        ("chunks", [{"base64": "eA==", 7: ""}]),
        ("meta", None),
        ("meta", "text"),
        ("meta", [["name", "value"]]),
        ("meta", {7: "value"}),
        ("error", "text"),
        ("error", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_data_that_somebody_computes_with_is_checked_and_named(field, value):
    with pytest.raises(EventError, match=rf"data\.{field} "):
        Event.decode({**GOOD, "data": {field: value}})


@pytest.mark.parametrize("field", ["n", "total", "rate", "eta", "elapsed"])
@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 10**400, "1", [], True], ids=lambda v: repr(v)[:9]
)
def test_a_number_of_a_bar_is_a_finite_number(field, value):
    with pytest.raises(EventError, match=r"data\.bars "):
        Event.decode({**GOOD, "data": {"bars": [{"position": 0, "n": 1, field: value}]}})


@pytest.mark.parametrize("field", ["total", "rate", "eta"])
def test_a_bar_may_not_know_its_total_its_rate_or_its_end(field):
    bar = {"position": 0, "n": 1, field: None}
    assert Event.decode({**GOOD, "data": {"bars": [bar]}}).data["bars"] == [bar]


@pytest.mark.parametrize("field", ["desc", "unit", "postfix"])
def test_a_text_of_a_bar_is_text(field):
    with pytest.raises(EventError, match=r"data\.bars "):
        Event.decode({**GOOD, "data": {"bars": [{"position": 0, "n": 1, field: 7}]}})
