"""Snapshots in celery-progress's words, which its own script reads."""

from __future__ import annotations

import time

import pytest

from socket_server.http.celery_progress import as_celery_progress

DONE = {"pending": False, "current": 100, "total": 100, "percent": 100}


def told(state, **more):
    return as_celery_progress({"state": state, "bars": [], "error": None, "reason": None, **more})


def test_a_job_that_waits_or_has_no_bar_yet_is_at_the_beginning():
    beginning = {"current": 0, "total": 100, "percent": 0}
    assert told("queued") == {
        "state": "PENDING", "complete": False, "success": None,
        "progress": {"pending": True, **beginning},
    }  # fmt: skip
    for state in ("running", "cancelling"):
        assert told(state)["state"] == "STARTED"
        assert told(state)["progress"] == {"pending": False, **beginning}


@pytest.mark.parametrize(
    ("bar", "progress"),
    [
        ({"n": 3, "total": 10, "desc": "rows"}, (3, 10, 30.0, "rows")),
        ({"n": 12, "total": 10, "desc": ""}, (12, 10, 100.0, "")),
        ({"n": 7, "total": None, "desc": None}, (7, 0, 0, "")),
    ],
)
def test_a_bar_is_its_progress(bar, progress):
    found = told("running", bars=[bar])
    assert (found["state"], found["complete"], found["success"]) == ("PROGRESS", False, None)
    shown = found["progress"]
    assert (shown["current"], shown["total"], shown["percent"], shown["description"]) == progress


def test_ends_are_complete_and_say_how():
    assert told("succeeded", result=[1, 2]) == {
        "state": "SUCCESS", "complete": True, "success": True, "progress": DONE, "result": [1, 2],
    }  # fmt: skip
    for state, word, more, why in (
        ("failed", "FAILURE", {"error": {"class": "E", "message": "bad"}}, "bad"),
        ("lost", "FAILURE", {"reason": "its worker died"}, "its worker died"),
        ("cancelled", "REVOKED", {}, "the job was cancelled"),
    ):
        found = told(state, **more)
        assert (found["state"], found["complete"], found["success"]) == (word, True, False)
        assert found["result"] == why


def test_a_retry_says_when_and_why():
    error = {"class": "OSError", "message": "no such shop " * 10}
    found = told("retrying", error=error, retry_at=time.time() + 30)
    assert (found["state"], found["complete"]) == ("RETRY", True)
    assert 25 < found["result"]["next_retry_seconds"] <= 30
    assert len(found["result"]["message"]) == 50
    assert told("retrying")["result"]["next_retry_seconds"] == "Unknown"
