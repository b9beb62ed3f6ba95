"""What memory a job's log lines take while the broker is gone, beside a queue without a bound."""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import os
import queue
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from progress import begin, flush
from report import Samples, compare, report

from bridge import job
from bridge.sending.outbox import MAX_BYTES
from support.rabbitmq import RabbitMQ
from support.tools import find

#: Numbers of lines that are logged: the first fits the outbox, the others do not.
LINES = (10**4, 10**5, 10**6)
#: Seconds until a process that logs must have answered.
TIMEOUT = 120.0

MIB = 2**20
SPAWN = multiprocessing.get_context("spawn")


def _job(lines: int) -> str:
    return f"job.log, {lines:,} lines"


def _queue(lines: int) -> str:
    return f"queue.Queue, {lines:,} lines"


def rss() -> int:
    """Return bytes of memory that this process has resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def texts(count: int) -> Iterator[str]:
    """Give lines as a job logs them, of about 100 characters, no two of them the same object."""
    for number in range(count):
        yield f"file {number:07} of {count:07}: {'/a/folder/of/a/user' * 4} was copied"


def log_in_job(link: Connection, url: str, home: Path, lines: int) -> None:
    """Connect, wait for a word, log lines, and tell bytes of growth and lines dropped."""
    logging.disable()  # that the broker is away is no news here
    run, emitter = begin(url, home)
    flush(emitter)
    link.send("connected")
    link.recv()
    before = rss()
    for text in texts(lines):
        job.log(text)
    link.send((rss() - before, run.dropped))
    link.recv()


def log_to_queue(link: Connection, lines: int) -> None:
    """Wait for a word, put the same lines in a queue, and tell bytes of growth."""
    messages: queue.Queue[tuple[float, str, str]] = queue.Queue()
    link.send("ready")
    link.recv()
    before = rss()
    for text in texts(lines):
        messages.put((time.time(), "INFO", text))
    link.send((rss() - before, 0))
    link.recv()


class Child:
    """A fresh process that is ready to log.

    Args:
        target: its function.
        arguments: the function's, after the connection to here.
    """

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        self._link, link = SPAWN.Pipe()
        self._process = SPAWN.Process(target=target, args=(link, *arguments), daemon=True)
        self._process.start()

    def answer(self) -> Any:
        """Return its next answer."""
        if not self._link.poll(TIMEOUT):
            raise TimeoutError(f"no answer of a process within {TIMEOUT:g} s")
        return self._link.recv()

    def go(self) -> Any:
        """Let it log, and return bytes of growth and lines dropped."""
        self._link.send("go")
        return self.answer()

    def kill(self) -> None:
        """End it at once: nothing it holds will ever be sent."""
        self._process.kill()
        self._process.join()


@contextlib.contextmanager
def children(url: str, home: Path) -> Iterator[dict[str, Child]]:
    """Give a process for each variant, each ready and those with a job connected."""
    made: dict[str, Child] = {}
    try:
        for lines in LINES:
            made[_job(lines)] = Child(log_in_job, url, home, lines)
            made[_queue(lines)] = Child(log_to_queue, lines)
        for child in made.values():
            child.answer()
        yield made
    finally:
        for child in made.values():
            child.kill()


def one_round(folder: Path) -> dict[str, tuple[int, int]]:
    """Kill a broker under connected processes, and return what each, in random order, answered."""
    node = RabbitMQ(folder)
    try:
        node.start()
        with children(node.url, folder) as made:
            node.kill()
            return {name: made[name].go() for name in random.sample(list(made), len(made))}
    finally:
        node.kill()


def measure(rounds: int) -> tuple[Samples, Samples]:
    """Return MiB of growth, and thousands of lines dropped, of each variant."""
    grown: Samples = {name(lines): [] for name in (_job, _queue) for lines in LINES}
    dropped: Samples = {_job(lines): [] for lines in LINES}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            answers = one_round(Path(folder))
        for name, (growth, lines) in answers.items():
            grown[name].append(growth / MIB)
            if name in dropped:
                dropped[name].append(lines / 1000)
    return grown, dropped


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    if find("rabbitmq-server") is None:
        sys.exit("no RabbitMQ: install Debian's package rabbitmq-server")
    grown, dropped = measure(options.rounds)
    ratios: list[tuple[str, str, float | None]]
    ratios = [(_job(lines), _queue(lines), None) for lines in LINES]
    ratios += [(name(LINES[2]), name(LINES[1]), None) for name in (_job, _queue)]
    title = f"memory, broker killed, outbox of {MAX_BYTES // MIB} MiB"
    report(
        [
            compare(title, grown, ratios, unit="MiB"),
            compare("lines dropped, the oldest", dropped, [], unit="thousands"),
        ],
        as_json=options.json,
    )


if __name__ == "__main__":
    main()
