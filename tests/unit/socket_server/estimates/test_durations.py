"""How long a job is expected to take, from those of its name before it."""

from __future__ import annotations

import pytest

from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.estimates.durations import ENOUGH, MAX_JOBS, MAX_NAMES, Durations


def job(name="n", *, queued=0.0, started=None, ended=None):
    snapshot = Snapshot("j")
    told = [("queued", 0, queued), ("started", 1, started), ("succeeded", 1, ended)]
    for seq, (kind, run, at) in enumerate(told):
        if at is not None:
            seq = max(0, seq - 1)
            snapshot.apply(
                Event(job="j", task="j", name=name, type=kind, run=run, seq=seq, at=at, data={})
            )
    return snapshot


def history(*times, name="n"):
    """Return one of jobs that waited and ran for so many seconds."""
    history = Durations()
    for waited, ran in times:
        history.note(job(name, queued=100.0, started=100.0 + waited, ended=100.0 + waited + ran))
    return history


def test_a_few_jobs_say_nothing():
    known = history(*[(1, 10)] * (ENOUGH - 1))
    assert known.expect(job(queued=500.0), 500.0) is None
    assert history(*[(1, 10)] * ENOUGH).expect(job("another", queued=500.0), 500.0) is None


def test_a_running_job_is_expected_to_end_as_eight_in_ten_did():
    known = history(*[(1, seconds) for seconds in range(10, 21)])
    expected = known.expect(job(queued=499.0, started=500.0), 501.0)
    assert expected == {"earliest": 511.0, "latest": 519.0, "jobs": 11}


def test_a_job_that_waits_is_expected_to_wait_as_they_did():
    known = history(*[(seconds, 10) for seconds in range(11)])
    assert known.expect(job(queued=500.0), 500.0) == {
        "earliest": 511.0,
        "latest": 519.0,
        "jobs": 11,
    }
    # It has waited for longer than any: it can begin at any moment.
    assert known.expect(job(queued=500.0), 600.0)["earliest"] == 610.0


def test_a_job_that_takes_longer_than_they_did_is_not_foretold():
    known = history(*[(1, 10)] * ENOUGH)
    assert known.expect(job(queued=499.0, started=500.0), 510.0)
    assert known.expect(job(queued=499.0, started=500.0), 510.1) is None


def test_clocks_that_disagree_make_no_negative_times():
    known = history(*[(-5, 10)] * ENOUGH)
    assert known.expect(job(queued=500.0), 500.0)["earliest"] == 510.0


@pytest.mark.parametrize("ended", [None, 120.0])
def test_a_job_whose_times_are_not_all_known_is_left_out(ended):
    known = history(*[(1, 10)] * (ENOUGH - 1))
    known.note(job(queued=100.0, ended=ended))
    assert known.expect(job(queued=500.0), 500.0) is None


def test_only_the_newest_jobs_and_names_are_remembered():
    known = history(*[(1, 1000)] * MAX_JOBS, *[(1, 10)] * MAX_JOBS)
    assert known.expect(job(queued=0.0, started=500.0), 500.0)["latest"] == 510.0
    for number in range(MAX_NAMES):
        known.note(job(f"n{number}", queued=1.0, started=2.0, ended=3.0))
    assert known.expect(job(queued=0.0, started=500.0), 500.0) is None
