"""The archive: events per CPU second, bytes of database per job and line, and time of searches.

``python benchmarks/archive.py URL [--jobs N] [--lines N] [--batch N] [--copies N] [--searches N]
[--rate N]`` fills an empty database (``postgresql://…`` or ``sqlite:////…``) with jobs that log so
many lines each, some in each message of the bus. In PostgreSQL it copies them under other ids. Then
it asks for first pages by text, state and time, while events come in.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import string
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from socket_server.archive.database import Database
from socket_server.archive.figures import Figures
from socket_server.archive.finding.search import ArchiveSearch
from socket_server.archive.finding.wanted import Wanted
from socket_server.archive.migrating import migrate, new_engine
from socket_server.archive.schema import JOBS, LINES, METADATA, TASKS, WORDS
from socket_server.archive.writer import ArchiveWriter
from socket_server.bus.decoding import decoded, event_in
from socket_server.bus.sources import BusMessage

#: Jobs that run at a time, and owners.
TOGETHER, OWNERS = 50, 200
#: Words: common ones, and rare ones, of which a line has one.
COMMON, RARE, PER_LINE = 500, 50_000, 8
NAMES = [f"app.task_{number}" for number in range(20)]
ENDS = ["succeeded"] * 9 + ["failed"]
#: Columns of the tables that are copied, but for keys that the database makes.
COPIED = {
    one.name: [column.name for column in one.c if column.name != "id"]
    for one in (JOBS, TASKS, LINES, WORDS)
}


def vocabulary(chance: random.Random) -> list[str]:
    """Return words, the common ones first."""
    letters = string.ascii_lowercase
    return ["".join(chance.choices(letters, k=chance.randint(3, 10))) for _ in range(COMMON + RARE)]


class Jobs:
    """Messages of jobs, in turn.

    Args:
        lines: lines of each job.
        seed: seed of chance.
        prefix: beginning of the jobs' ids.
        batch: lines of an event; default 1.
    """

    def __init__(self, lines: int, seed: int, prefix: str, batch: int = 1) -> None:
        self._batch = batch
        self._lines, self._chance, self._prefix = lines, random.Random(seed), prefix
        self.words = vocabulary(random.Random(1))
        self._common, self._rare = self.words[:COMMON], self.words[COMMON:]

    def messages(self, jobs: int) -> Iterator[bytes]:
        """Yield the messages of so many jobs."""
        for first in range(0, jobs, TOGETHER):
            some = range(first, min(first + TOGETHER, jobs))
            for number in some:
                yield self._message(number, "queued", 0, total=1)
                yield self._message(number, "started", 0, attempt=1)
            events = -(-self._lines // self._batch)
            for seq in range(1, events + 1):
                for number in some:
                    yield self._message(number, "log", seq, lines=self._some_lines(seq))
            for number in some:
                end = self._chance.choice(ENDS)
                error = {"error": {"class": "OSError", "message": self._line(0)}}
                yield self._message(number, end, events + 1, **error if end == "failed" else {})

    def _some_lines(self, seq: int) -> list[dict[str, Any]]:
        left = self._lines - (seq - 1) * self._batch
        now = time.time()
        return [
            {"at": now, "level": "INFO", "message": self._line(seq)}
            for _ in range(min(left, self._batch))
        ]

    def _line(self, seq: int) -> str:
        said = self._chance.choices(self._common, k=PER_LINE - 1)
        return " ".join([*said, self._chance.choice(self._rare), str(seq)])

    def _message(self, number: int, kind: str, seq: int, **data: Any) -> bytes:
        job = f"{self._prefix}{number:07d}-0000-4000-8000-000000000000"
        run = 0 if kind == "queued" else 1_763_846_400_123_456
        event = {"v": 1, "job": job, "task": job, "type": kind, "at": time.time(), "run": run,
                 "name": NAMES[number % len(NAMES)], "owner": f"user-{number % OWNERS}",
                 "seq": seq, "tick": 0, "data": data}  # fmt: skip
        return json.dumps(
            {"method": "emit", "event": "job", "data": [event], "namespace": "/jobs",
             "room": f"job:{job}", "host_id": "benchmark", "id": f"{job}{kind}{seq}"}
        ).encode()  # fmt: skip


def fill(engine: Engine, jobs: Jobs, count: int) -> tuple[int, float]:
    """Write so many jobs; return the number of their events, and the CPU seconds that took."""
    writer = ArchiveWriter(Database(engine, "taskbridge"), Figures(), threading.Event())
    writer.begin()
    events, spent = 0, 0.0
    for some in _chunks(jobs.messages(count), 10_000):
        begun = time.process_time()
        for body in some:
            message = decoded(BusMessage(body, writer.next))
            writer.take(message and event_in(message), max(writer.next, 0) + 1)
        writer.flush()
        spent += time.process_time() - begun
        events += len(some)
    return events, spent


def _chunks(messages: Iterator[bytes], size: int) -> Iterator[list[bytes]]:
    while some := [body for _, body in zip(range(size), messages, strict=False)]:
        yield some


def copy(engine: Engine, copies: int) -> None:
    """Copy all jobs so many times, each time with other ids and as of some minutes earlier."""
    for number in range(1, copies + 1):
        new, shift = f"regexp_replace(job, '^.', '{number}-')", 600 * number
        with engine.begin() as connection:
            for table, columns in COPIED.items():
                found = ", ".join(columns)
                other = {"job": new, "snapshot": f"replace(snapshot, job, {new})",
                         "at": f"at - {shift}", "heard": f"heard - {shift}"}  # fmt: skip
                values = ", ".join(other.get(one, one) for one in columns)
                statement = f"INSERT INTO {table} ({found}) SELECT {values} FROM {table}"
                connection.execute(text(f"{statement} WHERE job LIKE 'j%'"))


def size_of(engine: Engine) -> dict[str, int]:
    """Return the bytes of each table with its indexes; in SQLite of the whole file."""
    if engine.dialect.name == "sqlite":
        file = Path(str(engine.url.database))
        return {"file": sum(one.stat().st_size for one in file.parent.glob(f"{file.name}*"))}
    with engine.connect() as connection:
        return {
            name: connection.execute(text(f"SELECT pg_total_relation_size('{name}')")).scalar_one()
            for name in METADATA.tables
        }


def search(url: str, words: list[str], count: int) -> dict[str, list[float]]:
    """Search for first pages of each kind, ``count`` times; return the milliseconds of each."""
    archive, chance = ArchiveSearch(url), random.Random(2)
    took: dict[str, list[float]] = {}
    for number in range(count):
        kinds = {
            "a rare word": [chance.choice(words[COMMON:])],
            "a common word": [chance.choice(words[:COMMON])],
            "three words": chance.choices(words[:COMMON], k=3),
        }
        for kind, some in kinds.items():
            owner = None if number % 2 else f"user-{chance.randrange(OWNERS)}"
            state = "failed" if number % 3 else "succeeded"
            now = time.time()
            wanted = Wanted(owner, state, None, tuple(dict.fromkeys(some)), now - 86_400, now)
            begun = time.perf_counter()
            archive.find(wanted, None, 100)
            took.setdefault(kind, []).append(1000 * (time.perf_counter() - begun))
    archive.close()
    return took


def paced(url: str, rate: int) -> None:
    """Write so many events a second until the process is ended."""
    writer = ArchiveWriter(Database(new_engine(url), "paced"), Figures(), threading.Event())
    writer.begin()
    begun = time.monotonic()
    for sent, body in enumerate(Jobs(50, 3, "p").messages(10**9), start=1):
        message = decoded(BusMessage(body, writer.next))
        writer.take(message and event_in(message), max(writer.next, 0) + 1)
        while (early := sent / rate - (time.monotonic() - begun)) > 0.01:
            time.sleep(early)
            writer.look()


def main() -> None:
    """Fill, measure, search."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--lines", type=int, default=50)
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--rate", type=int, default=2_000)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--copies", type=int, default=0)
    given = parser.parse_args()
    engine = new_engine(given.url)
    migrate(engine)
    before, jobs = sum(size_of(engine).values()), Jobs(given.lines, 1, "j", given.batch)
    events, spent = fill(engine, jobs, given.jobs)
    print(f"{events} events: {events / spent:.0f} per CPU second of the archive")
    copy(engine, given.copies)
    given.jobs *= 1 + given.copies
    sizes = size_of(engine)
    whole = sum(sizes.values()) - before
    print(f"{whole} bytes: {whole / given.jobs:.0f} per job of {given.lines} lines; {sizes}")
    lines = sizes.get("archive_lines", 0) + sizes.get("archive_words", 0)
    print(f"lines and words: {lines / given.jobs / given.lines:.0f} bytes per line")
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
    # As an archive does: in a process of its own.
    writing = multiprocessing.get_context("spawn").Process(
        target=paced, args=(given.url, given.rate)
    )
    if given.rate:
        writing.start()
    for kind, took in search(given.url, jobs.words, given.searches).items():
        p95 = statistics.quantiles(took, n=20)[-1]
        print(f"{kind}: median {statistics.median(took):.1f} ms, 95th percentile {p95:.1f} ms")
    if given.rate:
        writing.terminate()
        writing.join()
    engine.dispose()


if __name__ == "__main__":
    main()
