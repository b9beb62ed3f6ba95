"""The meta of update_state, with the keys that people use, as a bar and facts."""

from __future__ import annotations

import json
import math
from collections import UserString

import pytest

from bridge.reporting.state_meta import bar_of, is_progress, read


def bar(meta):
    """Return count, total and text."""
    reading = read(meta).bar
    return reading and (reading.n, reading.total, reading.desc)


@pytest.mark.parametrize(
    ("meta", "shown"),
    [
        ({"current": 3, "total": 10}, (3, 10, "")),
        ({"current": 3, "total": 10, "status": "Frying eggs..."}, (3, 10, "Frying eggs...")),
        (
            {"pending": False, "current": 3, "total": 8, "percent": 37.5, "description": "rows"},
            (3, 8, "rows"),
        ),
        ({"done": 3, "max": 10, "message": "m"}, (3, 10, "m")),
        ({"completed": 3, "total": "10", "desc": "d"}, (3, 10, "d")),
        ({"processed": "3", "total": 10}, (3, 10, "")),
        ({"i": 3, "n": 9}, (3, None, "")),
        ({"progress": 37}, (37, 100, "")),
        ({"progress": "37%"}, (37, 100, "")),
        ({"progress": 0.37, "status": "s"}, (37, 100, "s")),
        ({"progress": 1}, (1, 100, "")),
        ({"progress": 5, "total": 20}, (5, 20, "")),
        ({"percent": 0.5}, (0.5, 100, "")),
        ({"current": 3, "percent": 37}, (37, 100, "")),
        ({"total": 10, "status": "begins"}, (0, 10, "begins")),
        ({"status": "reading"}, (0, None, "reading")),
        ({"description": UserString("translated"), "current": 1, "total": 2}, (1, 2, "translated")),
        ("reading", (0, None, "reading")),
        ({"current": True, "total": None, "percent": math.nan}, None),
        ({"current": [], "status": 7}, None),
        ({}, None),
        (None, None),
        ([1, 2], None),
    ],
)
def test_a_meta_is_a_bar(meta, shown):
    assert bar(meta) == shown


@pytest.mark.parametrize(
    ("meta", "facts"),
    [
        ({"current": 1, "total": 2, "percent": 50, "pending": False, "status": "s"}, {}),
        ({"current": 1, "total": 2, "file": "a.csv", "errors": 0}, {"file": "a.csv", "errors": 0}),
        ({"current": 1, "percent": 3}, {"current": 1}),
        ({"description": "d", "status": "s"}, {"status": "s"}),
        ({"current": "first", "total": 2, 7: "seven"}, {"current": "first", "7": "seven"}),
        ("text", {}),
    ],
)
def test_everything_else_in_it_is_a_fact(meta, facts):
    assert read(meta).facts == facts


@pytest.mark.parametrize("state", ["PROGRESS", "DOWNLOADING", None])
def test_a_state_of_the_task_is_progress(state):
    assert is_progress(state)


@pytest.mark.parametrize("state", ["PENDING", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED"])
def test_a_state_of_celery_is_none(state):
    assert not is_progress(state)


def test_a_stored_meta_is_a_bar_that_can_be_sent():
    sent = bar_of({"current": 10**400, "total": 10, "description": "x" * 10_000})
    assert (sent["n"], sent["total"], len(sent["desc"])) == (0, 10, 200)
    assert json.loads(json.dumps(sent, allow_nan=False)) == sent
    assert bar_of({"file": "a"}) is None
