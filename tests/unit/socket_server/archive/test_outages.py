"""After an outage: the archive calls no job lost of which it could not hear."""

from __future__ import annotations

import json
from threading import Event as Flag
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from bridge.settings import Settings
from socket_server.archive import retention, writer
from socket_server.archive.database import Database
from socket_server.archive.figures import Figures
from socket_server.archive.reader import Reader
from socket_server.archive.retention import Attention, Retention
from socket_server.archive.schema import JOBS
from socket_server.archive.writer import ArchiveWriter
from socket_server.bus.sources import BusMessage
from support.archive import event, prepared
from support.clock import Clock

#: Seconds of silence after which a job is lost, of the archive's grace, and of an outage.
SILENCE, GRACE, OUTAGE = 300.0, 120.0, 3600.0
#: Seconds after an outage at which the worker has its connection again.
LATE = 8


class Listening:
    """An archive that reads what a test publishes, second by second of a clock.

    Args:
        engine: of its database.
        stream: what it has of RabbitMQ's stream; None for another broker.
    """

    def __init__(self, engine, stream):
        self.engine, self.clock, self.wall = engine, Clock(), Clock(1e9)
        self.stopping, figures = Flag(), Figures()
        self.stopping.wait = self.wait
        self.database = Database(engine, "taskbridge")
        new = ArchiveWriter(self.database, figures, self.stopping, self.wall)
        attention = Attention(figures, GRACE, self.clock, self.wall)
        limits = 1e9, 10**9, SILENCE
        keeper = Retention(self.database, new, figures, *limits, attention, self.wall)
        self.reader = Reader(Settings(), new, figures, self.stopping, keeper.look)
        self.reader._stream, self.offset = stream, 0

    def wait(self, _):
        """Let the whole outage pass, when the archive waits before it tries again."""
        self.pass_(OUTAGE)
        return self.stopping.is_set()

    def pass_(self, seconds):
        self.clock.tick(seconds)
        self.wall.tick(seconds)

    def run(self, *parts):
        """Read the parts of a test, each from a connection of its own, and stop."""
        left = iter(parts)
        self.reader._messages = lambda: next(left)
        self.reader.run()

    def nothing(self, seconds):
        for _ in range(round(seconds)):
            self.pass_(1.0)
            yield None

    def say(self, job="runs", kind="log"):
        self.offset += 1
        line = [{"at": 1.0, "level": "INFO", "message": "a line"}]
        body = {"method": "emit", "event": "job", "namespace": "/jobs", "room": f"job:{job}",
                "data": [event(job, kind, self.offset, lines=line)]}  # fmt: skip
        return BusMessage(json.dumps(body), self.offset)

    def working(self, seconds):
        """A job that says something every five seconds."""
        for _ in range(round(seconds / 5)):
            yield self.say()
            yield from self.nothing(5)

    @property
    def state(self):
        with self.engine.connect() as connection:
            rows = connection.execute(JOBS.select().where(JOBS.c.job == "runs"))
            return rows.one().state

    def working_again(self):
        """The worker has its connection again a little later than the archive; then it dies."""
        yield from self.nothing(LATE)
        assert self.state == "running"
        yield from self.working(2 * GRACE)
        assert self.state == "running"
        yield from self.nothing(SILENCE - 10)
        assert self.state == "running"
        yield from self.nothing(20)
        assert self.state == "lost"
        self.stopping.set()
        yield None


@pytest.fixture(params=["stream", "no stream"])
def archive(request, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MAX_WAIT", 0.0)
    monkeypatch.setattr(retention, "INTERVAL", 0.0)
    engine = prepared(f"sqlite:///{tmp_path}/archive.sqlite")
    # As the stream is left by a read that timed out, which tells nothing about an outage.
    stream = SimpleNamespace(broken=False, idle=True) if request.param == "stream" else None
    yield Listening(engine, stream)
    engine.dispose()


def test_no_job_is_lost_since_the_database_was_away(archive, monkeypatch):
    real = archive.database.write

    def away(*arguments):
        monkeypatch.setattr(archive.database, "write", real)
        raise OperationalError("", {}, Exception("the database is away"))

    def messages():
        yield from archive.working(2 * GRACE)
        monkeypatch.setattr(archive.database, "write", away)
        yield archive.say("another")
        yield None
        assert archive.database.write == real, "the database was away meanwhile"
        yield from archive.working_again()

    archive.run(messages())


def test_no_job_is_lost_since_the_broker_was_away(archive):
    def before():
        yield from archive.working(2 * GRACE)
        raise OSError("the broker is away")

    archive.run(before(), archive.working_again())


@pytest.mark.parametrize("clocks", [("clock", "wall"), ("wall",)], ids=["process", "machine"])
def test_no_job_is_lost_since_the_archive_was_suspended(archive, clocks):
    def messages():
        yield from archive.working(2 * GRACE)
        for one in clocks:
            getattr(archive, one).tick(OUTAGE)
        yield from archive.working_again()

    archive.run(messages())


def test_a_job_is_lost_though_the_broker_or_others_say_something_whenever_it_is_looked_for(archive):
    def messages():
        yield from archive.working(2 * GRACE)
        stream = archive.reader._stream
        for second in range(round(SILENCE) + 60):
            looks = second % 30 == 0
            archive.reader._look.__self__._next = 0.0 if looks else 1e9
            if stream is not None:
                stream.idle = not looks
            yield from archive.nothing(1)
        assert archive.state == "lost"
        archive.stopping.set()
        yield None

    archive.run(messages())
