"""Archives for tests: their databases, their process, and floods of events that they read."""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event as Flag
from typing import Any

import kombu
import psycopg
from sqlalchemy import Engine, func, select

from bridge.bus import stream
from bridge.bus.sharding import served_by
from bridge.protocol.event import Event
from bridge.settings import Settings
from bridge.tokens import Grant
from socket_server.archive.database import Database
from socket_server.archive.figures import Figures
from socket_server.archive.finding.asked import AskedSnapshot
from socket_server.archive.finding.search import ArchiveSearch
from socket_server.archive.migrating import migrate, new_engine
from socket_server.archive.schema import JOBS, LINES, METADATA, POSITIONS
from socket_server.archive.writer import ArchiveWriter
from support.ports import free_port
from support.process import Process
from support.stack import Stack
from support.wait import until

__all__ = [
    "ArchiveStack",
    "FilledArchive",
    "Flood",
    "Scribe",
    "count",
    "event",
    "line_texts",
    "new_database",
    "prepared",
    "publishing",
    "write",
]

_numbers = itertools.count()

#: Ends all sessions of a database.
ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"


def new_database(kind: str, request: Any) -> str:
    """Return the URL of an empty database, of SQLite or PostgreSQL."""
    if kind == "sqlite":
        folder = request.getfixturevalue("tmp_path_factory").mktemp("archive")
        return f"sqlite:///{folder}/archive.sqlite"
    server = request.getfixturevalue("postgresql_server")
    name = f"archive_{next(_numbers)}"
    with psycopg.connect(f"postgresql://{server}/taskbridge", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://{server}/{name}"


class ArchiveStack(Stack):
    """A stack with an archive.

    Args:
        home: see :class:`support.stack.Stack`.
        broker_url: see there.
        url: URL of the archive's database.
        variables: more of the environment.
    """

    def __init__(self, home: Any, broker_url: str | None, url: str, **variables: str) -> None:
        self.archive_port = free_port()
        given = {"TASKBRIDGE_ARCHIVE_URL": url, "TASKBRIDGE_ARCHIVE_PORT": str(self.archive_port)}
        super().__init__(home, broker_url, **given, **variables)
        self.database = url

    def start_archive(self, **variables: str) -> Process:
        """Start an archive, and wait until it reads the bus."""
        archive = self.start("archive", *self.command("archive"), **variables)
        archive.until(lambda: self.health().get("status") == "ok", 60, "its health")
        return archive

    def health(self) -> dict[str, Any]:
        """Return the answer of the archive's health check; nothing while there is none."""
        url = f"http://127.0.0.1:{self.archive_port}/healthz"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)  # type: ignore[no-any-return]
        except OSError:
            return {}

    def ask(self, path: str, token: str) -> tuple[int, Any]:
        """Return status and answer of a GET request to the server."""
        asked = urllib.request.Request(
            f"{self.url}{path}", headers={"Authorization": f"Bearer {token}"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def await_forgotten(self, owner: str) -> None:
        """Wait until the server holds no job of an owner that has ended."""
        token = self.token(owner=owner)
        path = "/api/jobs?limit=1"
        until(lambda: self.ask(path, token)[1]["counts"]["ended"] == 0, 30, "the server to forget")

    def figures(self) -> dict[str, float]:
        """Return the archive's figures by their names."""
        url = f"http://127.0.0.1:{self.archive_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            lines = [one for one in answer.read().decode().splitlines() if one[0] != "#"]
        return {name.split("{")[0]: float(value) for name, value in map(str.split, lines)}

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Yield an engine of the database."""
        engine = new_engine(self.database)
        try:
            yield engine
        finally:
            engine.dispose()

    def rows(self, statement: Any) -> list[Any]:
        """Return what a statement finds in the database."""
        with self.engine() as engine, engine.connect().execution_options(reads=True) as connection:
            return list(connection.execute(statement))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Keep the archive's database from answering."""
        if self.database.startswith("sqlite"):
            path = self.database.removeprefix("sqlite:///")
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                connection.execute("BEGIN EXCLUSIVE")
                yield
            return
        server, _, name = self.database.removeprefix("postgresql+psycopg://").rpartition("/")
        with psycopg.connect(f"postgresql://{server}/taskbridge", autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute(ENDED, [name])
            yield
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    def await_position(self, position: int, timeout: float = 60.0) -> None:
        """Wait until the archive has written what is before an offset of the stream."""
        wanted = select(POSITIONS.c.next)

        def reached() -> bool:
            return any(next >= position for (next,) in self.rows(wanted))

        until(reached, timeout, f"the archive to reach {position}")


def event(job: str, kind: str, seq: int, **data: Any) -> dict[str, Any]:
    """Return an event of a job's first task as it travels."""
    owner = data.pop("owner", "somebody")
    task, name = data.pop("task", job), data.pop("name", "app.work")
    run = data.pop("run", 0 if kind == "queued" else 1_763_846_400_123_456)
    at = data.pop("at", None) or time.time()
    return {"v": 1, "job": job, "task": task, "type": kind, "at": at, "name": name, "owner": owner,
            "run": run, "seq": seq, "tick": 0, "data": data}  # fmt: skip


class Scribe:
    """Publishes events as workers do, and knows what the archive is to have of them.

    Args:
        settings: broker and channel.
        connection: open connection to the broker.
    """

    def __init__(self, settings: Settings, connection: kombu.Connection) -> None:
        self._channel = served_by(settings).channel
        exchange = kombu.Exchange(self._channel, "fanout", durable=False)
        if stream.is_amqp(settings.events):
            stream.declare(connection, exchange, settings)
        self._producer = kombu.Producer(connection, exchange)
        #: Messages that were published.
        self.published = 0

    def send(self, event: dict[str, Any], **more: Any) -> None:
        """Publish an event."""
        message = {"method": "emit", "event": "job", "data": [event], "namespace": "/jobs",
                   "room": f"job:{event['job']}", "host_id": "tests", **more}  # fmt: skip
        options = {"content_type": "text/plain", "content_encoding": "utf-8", "delivery_mode": 2}
        self._producer.publish(json.dumps(message), **options)
        self.published += 1


@contextmanager
def publishing(settings: Settings) -> Iterator[Scribe]:
    """Yield what publishes events."""
    with kombu.Connection(settings.events) as connection:
        yield Scribe(settings, connection)


class Flood:
    """Jobs that log so many lines each, one in each event, and then end.

    Args:
        scribe: publishes.
        jobs: number of jobs.
        lines: lines of each.
        begin: number of the first job.
    """

    def __init__(self, scribe: Scribe, jobs: int, lines: int, begin: int = 0) -> None:
        self._scribe, self._lines = scribe, lines
        self.jobs = [f"job-{number}" for number in range(begin, begin + jobs)]

    def run(self, between: Callable[[int], None] = lambda number: None) -> None:
        """Publish all events, in turn; call ``between`` after each round of them."""
        for job in self.jobs:
            self._scribe.send(event(job, "queued", 0, total=1))
            self._scribe.send(event(job, "started", 0, attempt=1))
        for number in range(self._lines):
            for job in self.jobs:
                line = {"at": time.time(), "level": "INFO", "message": f"line {number} of {job}"}
                self._scribe.send(event(job, "log", number + 1, lines=[line]))
            between(number)
        for job in self.jobs:
            self._scribe.send(event(job, "succeeded", self._lines + 1))

    @property
    def events(self) -> int:
        """Number of all events."""
        return len(self.jobs) * (self._lines + 3)

    def check(self, stack: ArchiveStack) -> None:
        """Check that the archive has each event once."""
        wanted = select(JOBS.c.job, JOBS.c.state, JOBS.c.events, JOBS.c.lines)
        found = {row.job: tuple(row[1:]) for row in stack.rows(wanted) if row.job in self.jobs}
        whole = ("succeeded", self._lines + 3, self._lines)
        assert {job: one for job, one in found.items() if one != whole} == {}
        assert len(found) == len(self.jobs)
        for job in self.jobs:
            assert line_texts(stack, job) == [f"line {n} of {job}" for n in range(self._lines)]


def line_texts(stack: ArchiveStack, job: str) -> list[str]:
    """Return the lines of a job that an archive has."""
    wanted = select(LINES.c.body).where(LINES.c.job == job).order_by(LINES.c.part)
    entries = [entry for (body,) in stack.rows(wanted) for entry in json.loads(body)]
    return [text for _, kind, _, lines in entries if kind == "log" for _, _, text in lines]


def prepared(url: str) -> Engine:
    """Return an engine of a database with an archive's tables."""
    engine = new_engine(url)
    migrate(engine)
    return engine


def count(engine: Engine, table: Any) -> int:
    """Return the number of rows of a table."""
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def write(engine: Engine, events: list[Event]) -> None:
    """Write events into the archive of a database."""
    writer = ArchiveWriter(Database(engine, "taskbridge"), Figures(), Flag())
    writer.begin()
    for number, one in enumerate(events, start=writer.next + 1):
        writer.take(one, number + 1)
    writer.flush()


class PromptSearch(ArchiveSearch):
    """A search that has answered each question when it returns, for tests with a virtual clock."""

    def ask(self, job: str, grant: Grant) -> AskedSnapshot:
        """Ask, and wait for the answer."""
        asked = super().ask(job, grant)
        call = asked._call
        until(lambda: call is not None and call.done, 30, "the archive's answer", interval=0.001)
        return asked


class FilledArchive:
    """A database that is filled anew again and again, and the search of it.

    Args:
        url: URL of an empty database.
    """

    def __init__(self, url: str) -> None:
        self.engine, self.archive = prepared(url), PromptSearch(url)

    def __enter__(self) -> FilledArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()
        self.engine.dispose()

    def fill(self, events: list[Event]) -> None:
        """Let the archive have these events and no others."""
        with self.engine.begin() as connection:
            for table in reversed(METADATA.sorted_tables):
                connection.execute(table.delete())
        write(self.engine, events)
