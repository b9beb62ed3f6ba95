"""Batches: once each, whatever the database answered; and what is removed again."""

from __future__ import annotations

from threading import Event as Flag

import pytest
from sqlalchemy.exc import OperationalError

from bridge.protocol.event import Event
from socket_server.archive import retention as module
from socket_server.archive.database import Conflict, Database
from socket_server.archive.figures import Figures
from socket_server.archive.retention import Attention, Retention
from socket_server.archive.schema import DELIVERIES, GAPS, JOBS, LINES, TASKS, WORDS
from socket_server.archive.writer import ArchiveWriter, Stopped
from support.archive import count, prepared

#: Seconds for which an archive of these tests listens before a silent job is lost.
GRACE = 10.0


@pytest.fixture
def engine(tmp_path):
    engine = prepared(f"sqlite:///{tmp_path}/archive.sqlite")
    yield engine
    engine.dispose()


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def writer(engine, now):
    stopping = Flag()
    stopping.wait = lambda seconds: stopping.is_set()
    new = ArchiveWriter(Database(engine, "taskbridge"), Figures(), stopping, lambda: now[0])
    new.begin()
    return new


def log(job, seq=1, message="a line"):
    lines = [{"at": 1.0, "level": "INFO", "message": message}]
    return Event(job=job, task=job, type="log", at=1.0, run=1, seq=seq, data={"lines": lines})


def events_in(engine):
    with engine.connect() as connection:
        return {row.job: row.events for row in connection.execute(JOBS.select())}


def new_keeper(writer, now, *, seconds=1e9, most=10**9, silence=1e9):
    def clock():
        return now[0]

    attention = Attention(writer._figures, GRACE, clock, clock)
    limits = seconds, most, silence
    return Retention(writer._database, writer, writer._figures, *limits, attention, clock)


def listen(keeper, now, seconds):
    """Let the archive look each second, as it does while it listens."""
    keeper._attention.look()
    for _ in range(round(seconds)):
        now[0] += 1
        keeper._attention.look()


def failing(database, name, error, after):
    """Let the next call of a method fail, before or after it has done its work."""
    real = getattr(database, name)

    def fail(*arguments):
        setattr(database, name, real)
        if after:
            real(*arguments)
        raise error

    setattr(database, name, fail)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["load", "write"])
def test_a_batch_is_written_once_though_the_answer_of_the_database_is_lost(
    engine, writer, name, after
):
    error = OperationalError("", {}, Exception("the connection is gone"))
    failing(writer._database, name, error, after)
    writer.take(log("j"), 1)
    writer.flush()
    writer.take(log("j", 2), 2)
    writer.flush()
    assert events_in(engine) == {"j": 2}
    assert count(engine, LINES) == 2
    assert writer._figures.failures == 1
    assert writer._figures.away is None


def test_an_archive_that_stops_does_not_wait_for_a_database_that_is_away(writer):
    failing(writer._database, "write", OperationalError("", {}, Exception("gone")), after=False)
    writer._stopping.set()
    writer.take(log("j"), 1)
    with pytest.raises(Stopped):
        writer.flush()


def test_what_another_archive_has_written_is_not_written_again(engine, writer):
    other = ArchiveWriter(Database(engine, "taskbridge"), Figures(), Flag())
    other.begin()
    writer.take(log("j"), 1)
    writer.flush()
    for seq in (1, 2):
        other.take(log("j", seq), seq)
    with pytest.raises(Conflict):
        other.flush()
    assert events_in(engine) == {"j": 1}


def test_a_gap_marks_unfinished_jobs_and_later_events_leave_the_mark(engine, writer):
    writer.take(log("j"), 1)
    writer.note_gap(900.0, "events are missing")
    writer.take(log("j", 2), 2)
    writer.flush()
    with engine.connect() as connection:
        assert connection.execute(JOBS.select()).one().missed
        assert connection.execute(GAPS.select()).one()[2:] == (900.0, 1000.0, "events are missing")


@pytest.mark.parametrize("since", [900.0, None])
def test_a_gap_that_is_noticed_again_grows_and_an_earlier_one_is_kept(engine, writer, now, since):
    error = OperationalError("", {}, Exception("the connection is gone"))
    writer.note_gap(500.0, "events are missing")
    failing(writer._database, "note_gap", error, after=True)
    writer.note_gap(since, "events are missing")
    now[0] += 50
    writer.note_gap(since, "events are missing")
    with engine.connect() as connection:
        gaps = [(row.since, row.until) for row in connection.execute(GAPS.select())]
    assert gaps == [(500.0, 1000.0), (since, 1050.0)]


def test_jobs_are_removed_by_their_age_some_at_a_time(engine, writer, now, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 3)
    keeper = new_keeper(writer, now, seconds=60.0)
    for number in range(5):
        writer.take(log(f"j{number}"), number + 1)
    writer.flush()
    assert not keeper.remove_some()
    now[0] += 50
    writer.take(log("j0", 2), 6)
    writer.flush()
    now[0] += 20
    assert keeper.remove_some()
    assert count(engine, JOBS) == 2
    assert keeper.remove_some()
    assert not keeper.remove_some()
    assert events_in(engine) == {"j0": 2}
    assert [count(engine, table) for table in (TASKS, WORDS)] == [1, 1]
    assert writer._figures.removed == 4
    writer.take(log("j1", 2), 7)
    writer.flush()
    assert events_in(engine) == {"j0": 2, "j1": 1}


@pytest.mark.parametrize("job", ["a\\b", "\0", "\ud800"])
def test_a_removed_job_is_forgotten_whatever_characters_its_id_has(engine, writer, now, job):
    keeper = Retention(writer._database, writer, writer._figures, 60.0, 10**9, 1e9, lambda: now[0])
    writer.take(log(job), 1)
    writer.flush()
    now[0] += 61
    assert keeper.remove_some()
    writer.take(log(job, 2), 2)
    writer.flush()
    assert list(events_in(engine).values()) == [1]


def test_jobs_are_removed_for_room_the_oldest_first(engine, writer, now):
    for number in range(5):
        writer.take(log(f"j{number}", message="x" * 1000), number + 1)
        writer.flush()
        now[0] += 60
    keeper = new_keeper(writer, now, most=3500)
    assert keeper.remove_some()
    assert not keeper.remove_some()
    assert set(events_in(engine)) == {"j2", "j3", "j4"}


def states_of(engine):
    with engine.connect() as connection:
        return {row.job: row.state for row in connection.execute(JOBS.select())}


def test_a_job_whose_worker_died_ends_as_lost_and_goes_on_with_a_later_event(engine, writer, now):
    keeper = new_keeper(writer, now, silence=60.0)
    waiting = Event(job="waits", task="waits", type="queued", at=1.0)
    for number, one in enumerate([log("runs"), waiting]):
        writer.take(one, number + 1)
    writer.flush()
    now[0] += 61
    assert not keeper.lose_some()  # not all that was published is read
    writer._figures.idle = True
    listen(keeper, now, GRACE)
    assert keeper.lose_some()
    assert not keeper.lose_some()
    assert states_of(engine) == {"runs": "lost", "waits": "queued"}
    assert (
        writer._database.load(["runs"])["runs"].snapshot.encode()["reason"].startswith("no event")
    )
    writer._jobs.clear()
    writer.take(log("runs", 2), 3)
    writer.flush()
    assert states_of(engine)["runs"] == "running"
    assert events_in(engine)["runs"] == 2


def test_two_archives_that_both_lose_a_job_queue_one_delivery_for_each_end(engine, writer, now):
    other = ArchiveWriter(Database(engine, "taskbridge"), Figures(), Flag(), lambda: now[0])
    other.begin()
    first = log("j")
    first.notes = {"webhook": "w"}

    def read_and_lose(event, after, archives):
        for archive in archives:
            archive.take(event, after)
            archive.flush()
        now[0] += 60
        for archive in archives:
            archive.lose(["j"], "no event came")
            now[0] += 1

    read_and_lose(first, 1, [writer, other])
    assert count(engine, DELIVERIES) == 1
    read_and_lose(log("j", 2), 2, [other, writer])
    assert count(engine, DELIVERIES) == 2
    new = ArchiveWriter(Database(engine, "taskbridge"), Figures(), Flag(), lambda: now[0])
    new.begin()
    read_and_lose(log("j", 3), 3, [writer, new])
    with engine.connect() as connection:
        rows = connection.execute(DELIVERIES.select()).all()
    assert [row.type for row in rows] == ["job.lost"] * 3


def test_an_event_that_cannot_be_folded_stops_not_the_archive(engine, writer, caplog):
    bad = log("j", 2)
    bad.run = "no number"
    for number, one in enumerate([log("j"), bad, log("j", 3), log("k")], start=1):
        writer.take(one, number)
    writer.flush()
    assert events_in(engine) == {"j": 2, "k": 1}
    assert "an event of job j could not be folded" in caplog.text
    assert writer._figures.refused == 1
