"""What refusals, answers and time mean to a watch; which events are new: test_novelty_twin.py."""

from __future__ import annotations

import pytest

from bridge.client.watch_state import Patience, WatchState
from bridge.errors import JobNotFound, ResultsUnavailable, TaskbridgeError
from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot

SLOWER = {"code": "too_many_requests", "message": "slower", "temporary": True}
AWAY = {"code": "unavailable", "message": "no results"}
MISSING = {"code": "not_found", "message": "no such job"}


def answer(*events, cursor, recovered=True):
    told = {"snapshot": Snapshot("job").encode(), "cursor": cursor, "recovered": recovered}
    return {"ok": True, "events": [dict(one) for one in events], **told}


def event(seq, kind="log"):
    return Event(job="job", task="job", type=kind, run=1, seq=seq, at=seq).encode()


@pytest.mark.parametrize(
    ("error", "kind"),
    [(SLOWER, TaskbridgeError), (AWAY, ResultsUnavailable), (MISSING, JobNotFound)],
    ids=["too many requests", "no results", "no job"],
)
def test_a_refusal_that_outlasts_the_timeout_is_raised_with_its_reason(error, kind):
    with pytest.raises(kind, match=error["message"]) as raised:
        WatchState("job", None, 0.0)._refused(error)
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({}, 1.0),
        ({"retry_after": 0.3}, 0.3),
        ({"retry_after": 9e9}, 60.0),
        ({"retry_after": ""}, 1),
    ],
)
def test_a_temporary_refusal_says_when_to_ask_again(said, seconds):
    assert WatchState("job", None, None)._refused({**SLOWER, **said}) == seconds


def test_an_event_that_comes_again_is_not_new_and_the_cursor_goes_on():
    state = WatchState("job", "c0", None)
    assert state._request() == {"job": "job", "cursor": "c0"}
    assert len(list(state._start(answer(event(1), event(2), cursor="c1")))) == 2
    assert state._request()["cursor"] == "c1"
    assert [state._fold(event(seq) | {"cursor": f"c{seq}"}) for seq in (2, 3)] == [False, True]
    assert list(state._start(answer(event(2), event(3), cursor="c4", recovered=False))) == []
    assert (state.cursor, state.recovered) == ("c4", False)


def test_what_is_no_event_of_the_job_is_ignored():
    state = WatchState("other", None, None)
    assert not state._fold(event(1))
    assert not state._fold({"v": 1})
    assert state.cursor is None


def test_patience_counts_from_the_first_failure_and_ends_with_success():
    now = [10.0]
    patience = Patience(5.0, lambda: now[0])
    assert (patience.left, patience.is_over) == (None, False)
    patience.begin()
    now[0] = 13.0
    patience.begin()
    assert patience.left == 2.0
    patience.end()
    assert patience.left is None
    patience.begin()
    now[0] = 20.0
    assert patience.is_over


def test_patience_without_a_limit_never_ends():
    patience = Patience(None)
    patience.begin()
    assert (patience.left, patience.is_over) == (None, False)
