"""The archive's database is away for five minutes: is any event, server or client slower?

``python benchmarks/archive_away.py [--url URL] [--seconds N] [--rate N]`` publishes events of a job
while a client watches it, before the database is away and then meanwhile, and compares how late the
events are, what they cost the server, and how long it takes to look up a job that the server holds.
In the end the archive must have each event once. The database is a new SQLite file, or
``postgresql+psycopg://login@host/name``, whose login may keep others out of it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from sqlalchemy import select  # noqa: E402

from socket_server.archive.schema import JOBS  # noqa: E402
from support.archive import ArchiveStack, Scribe, event, publishing  # noqa: E402
from support.process import Process  # noqa: E402
from support.rabbitmq import RabbitMQ  # noqa: E402
from support.wait import until  # noqa: E402

JOB = "watched"
#: Events between two look-ups of the job over HTTP.
LOOK = 20


class Phase(NamedTuple):
    """What was measured in a phase."""

    #: Seconds by which each event came late to the client, and seconds of each look-up.
    late: list[float]
    looked: list[float]
    #: CPU seconds of the server for an event, look-ups included.
    cost: float

    def __str__(self) -> str:
        return (
            f"events late by {_shown(self.late)}; look-ups {_shown(self.looked)}; "
            f"{1e6 * self.cost:.0f} µs of the server's CPU per event"
        )


def _shown(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"{1000 * cuts[49]:.2f} ms (median), {1000 * cuts[98]:.2f} ms (p99)"


class Client:
    """Watches the job in a thread, and notes how late each event comes."""

    def __init__(self, stack: ArchiveStack) -> None:
        self._stack = stack
        self.late: list[float] = []
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        for one in self._stack.bridge.watch(JOB):
            self.late.append(time.time() - one["at"])


class Load:
    """Publishes events at a rate, and looks the job up.

    Args:
        stack: the stack, whose server and archive run.
        server: its server.
        scribe: publishes.
        rate: events a second.
    """

    def __init__(self, stack: ArchiveStack, server: Process, scribe: Scribe, rate: int) -> None:
        self._stack, self._server, self._scribe, self._rate = stack, server, scribe, rate
        self._token = stack.token(owner="somebody")
        #: Events that were published.
        self.seq = 0
        self._send("started")
        until(lambda: stack.ask(f"/api/jobs/{JOB}", self._token)[0] == 200, 30, "the job")
        self._client = Client(stack)
        self.run(2.0)

    def _send(self, kind: str) -> None:
        line = {"at": time.time(), "level": "INFO", "message": f"line {self.seq}"}
        self._scribe.send(event(JOB, kind, self.seq, **({"lines": [line]} if self.seq else {})))
        self.seq += 1

    def run(self, seconds: float) -> Phase:
        """Publish for so many seconds; return what was measured."""
        begun, first, used, looked = time.monotonic(), self.seq, _cpu(self._server.pid), []
        seen = len(self._client.late)
        for number in range(int(seconds * self._rate)):
            self._send("log")
            if number % LOOK == 0:
                looked.append(self._look())
            if (early := begun + number / self._rate - time.monotonic()) > 0:
                time.sleep(early)
        until(lambda: len(self._client.late) >= self.seq, 60, "the client to have all events")
        cost = (_cpu(self._server.pid) - used) / (self.seq - first)
        return Phase(self._client.late[seen:], looked, cost)

    def _look(self) -> float:
        begun = time.perf_counter()
        status, _ = self._stack.ask(f"/api/jobs/{JOB}", self._token)
        assert status == 200
        return time.perf_counter() - begun

    def end(self) -> None:
        """Publish the end of the job."""
        self._send("succeeded")


def _cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(stack: ArchiveStack, seconds: float, rate: int) -> None:
    """Measure, print, and check what the archive has in the end."""
    stack.start_archive()
    server = stack.start_server()
    with publishing(stack.settings) as scribe:
        load = Load(stack, server, scribe, rate)
        print(f"before: {load.run(min(seconds, 60.0))}", flush=True)
        with stack.away():
            print(f"away:   {load.run(seconds)}", flush=True)
        load.end()
        begun = time.monotonic()
        stack.await_position(scribe.published, 600)
        print(f"caught up {time.monotonic() - begun:.1f} s after its database was back")
    [row] = stack.rows(select(JOBS.c.state, JOBS.c.events, JOBS.c.lines).where(JOBS.c.job == JOB))
    assert tuple(row) == ("succeeded", load.seq, load.seq - 2), (tuple(row), load.seq)
    print(f"{load.seq} events, each written once")


def main() -> None:
    """Read the options, and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rate", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        node = RabbitMQ(folder)
        stack = None
        try:
            url = given.url or f"sqlite:///{folder}/archive.sqlite"
            stack = ArchiveStack(folder / "home", node.start().url, url)
            measure(stack, given.seconds, given.rate)
        finally:
            if stack is not None:
                stack.stop()
            node.stop()


if __name__ == "__main__":
    main()
