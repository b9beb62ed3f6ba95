"""What a service gets of a job that it waited for."""

from __future__ import annotations

import pickle

import pytest

from bridge.client.outcome import result
from bridge.errors import JobFailed, ResultsUnavailable
from bridge.protocol.snapshot import Snapshot

ERROR = {"class": "ValueError", "message": "no such shop"}


def ended(state, **told):
    return {**Snapshot("j").encode(), "state": state, **told}


def test_a_result_is_returned_and_none_if_there_is_none():
    assert result(ended("succeeded", result={"rows": 3})) == {"rows": 3}
    assert result(ended("succeeded", reason="it ended without a result")) is None


def test_a_result_that_did_not_travel_is_no_result():
    with pytest.raises(ResultsUnavailable, match="the result of job j is no JSON or takes more"):
        result(ended("succeeded", result_omitted=True))


@pytest.mark.parametrize(
    ("snapshot", "sentence"),
    [
        (ended("failed", error=ERROR), "job j has failed: ValueError: no such shop"),
        (ended("lost", reason="its worker is gone"), "job j was lost: its worker is gone"),
        (ended("cancelled"), "job j was cancelled"),
    ],
    ids=["failed", "lost", "cancelled"],
)
def test_another_end_is_an_exception_that_passes_between_processes(snapshot, sentence):
    with pytest.raises(JobFailed) as raised:
        result(snapshot)
    told = pickle.loads(pickle.dumps(raised.value))
    assert (str(told), told.state, told.error) == (sentence, snapshot["state"], snapshot["error"])
