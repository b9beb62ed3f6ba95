"""What the archive reads, and since when it says that events are missing."""

from __future__ import annotations

import json
from threading import Event as Flag
from types import SimpleNamespace

import pytest

from bridge import Settings
from socket_server.archive import reader as module
from socket_server.archive.database import Database
from socket_server.archive.figures import Figures
from socket_server.archive.reader import UNNOTICED, Reader
from socket_server.archive.schema import GAPS
from socket_server.archive.writer import ArchiveWriter
from socket_server.bus.sources import BusMessage
from support.archive import event, prepared

START, WEEK = 1_800_000_000.0, 7 * 86_400.0


class Archive:
    """A reader of connections that a test governs, and the time."""

    def __init__(self, engine):
        self.engine, self.now, self.stopping = engine, START, Flag()
        self.stopping.wait = lambda seconds: self.stopping.is_set()
        settings, figures, clock = Settings(), Figures(), lambda: self.now
        self.figures = figures
        self.writer = ArchiveWriter(Database(engine, settings.channel), figures, Flag(), clock)
        self.reader = Reader(
            settings, self.writer, figures, self.stopping, lambda: None, lambda: self.now
        )

    def run(self, *connections):
        """Let it read from each connection until that fails."""
        left = list(connections)

        def messages():
            yield from left.pop(0)()
            if not left:
                self.stopping.set()
                yield None
            raise OSError("the connection is gone")

        self.reader._messages = messages
        self.reader.run()

    def begin_anew(self):
        """Connect to a broker without a stream, and read nothing."""
        self.reader._begin_without_stream()
        yield None

    def gaps(self):
        with self.engine.connect() as connection:
            return [(row.since, row.until) for row in connection.execute(GAPS.select())]


@pytest.fixture
def archive(tmp_path):
    engine = prepared(f"sqlite:///{tmp_path}/archive.sqlite")
    yield Archive(engine)
    engine.dispose()


def message(at, offset=None, seq=1):
    lines = [{"at": at, "level": "INFO", "message": "x"}]
    told = event("j", "log", seq, at=at, lines=lines)
    body = {"method": "emit", "event": "job", "data": [told], "namespace": "/jobs",
            "room": "job:j", "host_id": "tests"}  # fmt: skip
    return BusMessage(json.dumps(body), offset)


def test_without_a_stream_a_gap_begins_when_the_archive_was_last_connected(archive):
    def first():
        archive.reader._begin_without_stream()
        yield message(START)
        archive.now += WEEK
        yield None
        yield None
        archive.now += 3600.0

    archive.run(first, archive.begin_anew)
    assert archive.gaps() == [(START + WEEK - UNNOTICED, START + WEEK + 3600.0)]


def test_a_wait_for_the_database_is_part_of_the_gap_that_it_may_have_caused(archive):
    def wait():
        archive.now += WEEK

    def first():
        archive.reader._begin_without_stream()
        yield message(START)
        archive.reader._look = wait
        yield None
        archive.reader._look = lambda: None
        yield None

    archive.run(first, archive.begin_anew)
    assert archive.gaps() == [(START, START + WEEK)]


@pytest.mark.parametrize("ahead", [0.0, 3 * WEEK], ids=["a right clock", "a clock that is ahead"])
def test_what_a_stream_dropped_is_missing_since_the_last_message_that_was_read(archive, ahead):
    stream = archive.reader._stream = SimpleNamespace(idle=False, broken=False)

    def first():
        yield message(START, 0)
        archive.now += WEEK
        yield message(archive.now + ahead, 1, seq=2)
        archive.now += 3600.0
        yield None
        stream.broken = True
        yield message(archive.now, 90, seq=3)

    archive.run(first)
    assert archive.gaps() == [(START + WEEK, START + WEEK + 3600.0)]


def test_what_a_stream_dropped_is_missing_since_all_of_it_was_read(archive):
    stream = archive.reader._stream = SimpleNamespace(idle=True, broken=False)

    def first():
        yield message(START, 0)
        archive.now += WEEK
        yield None
        yield None
        stream.idle, stream.broken = False, True
        archive.now += 3600.0
        yield message(archive.now, 90, seq=2)

    archive.run(first)
    assert archive.gaps() == [(START + WEEK - UNNOTICED, START + WEEK + 3600.0)]


def test_on_a_new_connection_a_stream_is_not_taken_for_read(archive, monkeypatch):
    monkeypatch.setattr(module.stream, "is_amqp", lambda url: True)
    monkeypatch.setattr(module.stream, "declare", lambda *arguments: True)
    source = archive.reader._source(None)
    source.idle = archive.figures.idle = True
    assert archive.reader._source(None) is source
    looks = []
    archive.reader._look = lambda: looks.append(archive.figures.idle)
    archive.reader._take(None)
    assert looks == [False]
