"""``JobTable``: the orders in which jobs are evicted, and the jobs of each owner."""

from __future__ import annotations

import pytest

from bridge.protocol.event import Event
from socket_server.journal.job_record import JobRecord
from socket_server.journal.job_table import JobTable
from socket_server.journal.stream_position import StreamPosition


@pytest.fixture
def table():
    return JobTable()


def put(table, job, kind, owner="o", seq=0, text=""):
    """Fold an event into a job's record, and put the record at the end."""
    record = table.get(job) or JobRecord(job)
    event = Event(job=job, task=job, type=kind, at=1000.0, owner=owner, run=1, seq=seq)
    assert record.fold(event)
    if text:
        record.keep(StreamPosition(seq + 1, 0), text)
    table.put(record)


def owned(table, owner):
    return [snapshot.job for snapshot in table.owned(owner)]


def test_the_job_of_the_newest_event_comes_last(table):
    for job in "abc":
        put(table, job, "started")
    put(table, "a", "log", seq=1)
    assert list(table) == ["b", "c", "a"]
    assert table.first_unfinished() == "b"


def test_ended_jobs_are_known_from_unfinished_ones(table):
    for job, kind in zip("abc", ["started", "succeeded", "failed"], strict=True):
        put(table, job, kind)
    assert (table.unfinished, table.ended()) == (1, ["b", "c"])
    assert [table.has_ended(job) for job in "abx"] == [False, True, False]
    assert (table.first_ended(but="x"), table.first_ended(but="b")) == ("b", "c")


def test_unfinished_jobs_with_events_are_held_in_their_order_until_their_events_are_dropped(table):
    for job in "abc":
        put(table, job, "started", text="" if job == "a" else "12345")
    put(table, "c", "succeeded", seq=1)
    put(table, "d", "started", text="123")
    assert (table.first_holding(but="x"), table.first_holding(but="b")) == ("b", "d")
    assert table.forget_events("b") == 5
    assert table.first_holding(but="x") == "d"
    assert table.forget_all_events() == 8
    assert table.first_holding(but="x") is None


def test_a_job_that_is_removed_is_in_no_order(table):
    put(table, "a", "started", text="12345")
    put(table, "b", "succeeded")
    assert [table.remove(job).snapshot.job for job in "ab"] == ["a", "b"]
    assert (table.unfinished, table.ended(), table.first_holding(but="x")) == (0, [], None)


def test_a_job_without_an_owner_is_no_owners_job(table):
    put(table, "a", "started", owner=None)
    assert owned(table, "") == []
    assert table._owners == {}


def test_nothing_is_left_of_an_owner_whose_jobs_are_removed(table):
    for job, owner in zip("abc", "pqp", strict=True):
        put(table, job, "started", owner)
    table.remove("a")
    assert (owned(table, "p"), owned(table, "q")) == (["c"], ["b"])
    table.remove("b")
    table.remove("c")
    assert table._owners == {}


def test_the_jobs_of_an_owner_are_counted_as_they_begin_and_end(table):
    for job, kind in zip(
        "abcde", ["queued", "queued", "started", "retrying", "failed"], strict=True
    ):
        put(table, job, kind)
    put(table, "x", "started", owner="other")
    assert table.counts("o") == {"queued": 2, "running": 2, "ended": 1}
    put(table, "a", "started", seq=1)
    put(table, "c", "succeeded", seq=1)
    table.remove("e")
    assert table.counts("o") == {"queued": 1, "running": 2, "ended": 1}
    assert table.counts("nobody") == {"queued": 0, "running": 0, "ended": 0}
