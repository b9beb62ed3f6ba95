"""``job.checkpoint``, ``job.restored`` and ``job.resume``."""

from __future__ import annotations

import pytest

from bridge import JobCancelled, job
from bridge.testing import assert_progress, record


def test_outside_a_job_nothing_is_stored_and_all_rows_come():
    assert job.checkpoint(1) is False
    assert job.checkpoint(1, durable=True) is False
    assert job.restored is None
    assert list(job.resume([1, 2, 3])) == [1, 2, 3]


def test_a_recorded_job_keeps_its_newest_checkpoint_and_goes_on_from_a_given_one():
    with record() as reported:
        assert job.restored is None
        job.checkpoint({"row": 1})
        assert job.checkpoint({"row": 2}, durable=True) is True
    assert reported.checkpoint == {"row": 2}
    with record(restored=reported.checkpoint) as reported:
        assert job.restored == {"row": 2}


def test_rows_that_are_done_are_skipped_and_the_bar_goes_on():
    with record() as reported, pytest.raises(OSError):
        for row in job.resume(range(10), desc="rows"):
            if row == 7:
                raise OSError
    assert reported.checkpoint == {"done": 7}
    with record(restored=reported.checkpoint) as reported:
        rest = list(job.resume(range(10), desc="rows"))
    assert rest == [7, 8, 9]
    assert_progress(reported, desc="rows", n=10, total=10)
    assert reported.checkpoint == {"done": 10}


def test_a_row_is_done_when_the_next_one_is_asked_for_and_every_so_many_are_stored():
    with record() as reported:
        for row in job.resume(iter(range(10)), every=4):
            assert reported.checkpoint == ({"done": row // 4 * 4} if row >= 4 else None)
    assert reported.checkpoint == {"done": 8}


def test_the_bar_begins_where_the_attempt_before_was():
    with record(restored={"done": 57}) as reported:
        rows = job.resume(range(100), unit="row")
        assert next(rows) == 57
        assert [(bar.n, bar.total, bar.unit) for bar in reported.bars] == [(57, 100, "row")]


@pytest.mark.parametrize("state", [None, 5, {"done": "x"}, {"done": -1}, {"done": True}, []])
def test_what_resume_has_not_stored_is_not_gone_on_from(state):
    with record(restored=state):
        assert list(job.resume([1, 2])) == [1, 2]


def test_more_rows_than_there_are_leave_nothing_to_do():
    with record(restored={"done": 9}):
        assert list(job.resume([1, 2])) == []


@pytest.mark.parametrize("every", [0, -1])
def test_every_must_be_a_number_of_rows(every):
    with pytest.raises(ValueError, match="must be 1 or more"):
        job.resume([1], every=every)


def test_a_cancelled_job_stops_at_its_next_checkpoint():
    with record() as reported, pytest.raises(JobCancelled):
        reported.cancel()
        job.checkpoint(1)
