"""What memory an outbox of 32 MiB takes beside what it counts, and what is left afterwards."""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from bridge.reporting.run import Run  # noqa: E402
from bridge.sending.outbox import Outbox, Push, Report  # noqa: E402

MIB = 2**20


def rss() -> int:
    """Return bytes of memory that this process has resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def new_run() -> Run:
    """Return a run of a task of its own."""
    return Run(job=str(uuid.uuid4()), task=str(uuid.uuid4()), name="support.short", owner="me")


def put_task(outbox: Outbox, number: int) -> None:
    """Begin and end a task, which logs a line."""
    run = new_run()
    outbox.put(
        Report(run, "started", {"attempt": 1, "total": 1000, "queue": "celery"}, time.time())
    )
    outbox.put_line(run, "log", f"line {number} of a job: {'x' * 60}", time.time(), "INFO")
    outbox.put(Report(run, "succeeded", {"result": number}, time.time()))


def put_queued(outbox: Outbox, number: int) -> None:
    """Announce a task."""
    run = new_run()
    run.begun = 0
    outbox.put(Report(run, "queued", {"total": 1000, "queue": "celery"}, time.time()))


def put_small(outbox: Outbox, number: int) -> None:
    """Push little."""
    outbox.put(Push("mine", {"number": number}, "/jobs", f"job:{uuid.uuid4()}"))


def put_large(outbox: Outbox, number: int) -> None:
    """Push as much as one own event may have."""
    outbox.put(Push("mine", {"text": "y" * 65_000}, "/jobs", f"job:{uuid.uuid4()}"))


KINDS: dict[str, tuple[Callable[[Outbox, int], None], int]] = {
    "tasks": (put_task, 20_000),
    "many tasks": (put_task, 100_000),
    "queued": (put_queued, 100_000),
    "small own events": (put_small, 100_000),
    "large own events": (put_large, 4_000),
}


def measure(name: str) -> None:
    """Fill an outbox twice, empty it each time, and print what it took."""
    put, count = KINDS[name]
    outbox = Outbox()
    gc.collect()
    before, row = rss(), f"{name:18}{count:8,}"
    for _ in range(2):
        most = 0
        for number in range(count):
            put(outbox, number)
            if number % 100 == 0:
                most = max(most, rss())
        held = outbox.held
        while outbox:
            for _ in outbox.gather():
                pass
        gc.collect()
        row += f"{held / MIB:9.1f}{(most - before) / MIB:9.1f}{(rss() - before) / MIB:9.1f}"
    print(row, {name: count for name, count in outbox.losses.counts().items() if count})


def main() -> None:
    """Measure each kind in a fresh process."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"MiB of {'':19}" + f"{'counted':>9}{'grown':>9}{'left':>9}" * 2)
    for name in KINDS:
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(name,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
