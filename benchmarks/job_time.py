"""What a job's progress adds to its time, beside tqdm and a stock Socket.IO emit per update."""

from __future__ import annotations

import argparse
import functools
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import socketio
from progress import begin, end, flush, places, seconds
from report import Samples, compare, report
from tqdm import tqdm

from bridge import progress

BARE = "the bare loop itself, subtracted from the others"
JOB = "a job with progress"
TQDM = "tqdm"
STOCK = "KombuManager.emit"


def _bare(updates: int) -> None:
    for _ in range(updates):
        pass


def _bar(make: Callable[..., Any], updates: int) -> None:
    with make(total=updates) as bar:
        for _ in range(updates):
            bar.update(1)


def _job(url: str, home: Path, updates: int) -> None:
    # All that a worker does around a task, so that the first and the last event are paid for, too.
    run, emitter = begin(url, home)
    _bar(progress, updates)
    end(run, emitter)
    flush(emitter)


def _emit(manager: Any, updates: int) -> None:
    for n in range(updates):
        bar = {"n": n + 1, "total": updates, "desc": "copying"}
        manager.emit("progress", bar, namespace="/jobs", room="job:benchmark")


def variants(
    url: str, home: Path, options: argparse.Namespace, null: IO[str]
) -> dict[str, Callable[[], float]]:
    """Return what measures each variant, in milliseconds for all updates."""
    updates, emits = options.updates, options.emits
    manager = socketio.KombuManager(url, write_only=True)
    timed = {
        JOB: lambda: _job(url, home, updates),
        TQDM: lambda: _bar(functools.partial(tqdm, file=null), updates),
        STOCK: lambda: _emit(manager, emits),
        BARE: lambda: _bare(updates),
    }
    return {
        name: functools.partial(_milliseconds, loop, updates / emits if name == STOCK else 1.0)
        for name, loop in timed.items()
    }


def _milliseconds(loop: Callable[[], Any], scale: float) -> float:
    return seconds(loop)[0] * 1000 * scale


def measure(calls: dict[str, Callable[[], float]], rounds: int) -> Samples:
    """Return milliseconds that each variant adds to the bare loop of the same round."""
    samples: Samples = {name: [] for name in calls}
    for _ in range(rounds):
        took = {name: calls[name]() for name in random.sample(list(calls), len(calls))}
        for name, one in took.items():
            samples[name].append(one if name == BARE else one - took[BARE])
    return samples


def main() -> None:
    """Measure in rounds, each variant once a round in random order, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker-url", help="default: a RabbitMQ node of our own")
    parser.add_argument("--rounds", type=int, default=15, help="default %(default)s")
    parser.add_argument(
        "--updates", type=int, default=10**6, help="of a job's bar; default %(default)s"
    )
    parser.add_argument(
        "--emits", type=int, default=2000, help="of the stock manager; default %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    with places(options.broker_url) as (url, home), Path(os.devnull).open("w") as null:
        calls = variants(url, home, options, null)
        measure(calls, 1)  # connects and fills caches
        samples = measure(calls, options.rounds)
    title = (
        f"what {options.updates:,} updates add to a job; "
        f"{STOCK} scaled up from {options.emits:,} of them"
    )
    ratios: list[tuple[str, str, float | None]]
    ratios = [(JOB, TQDM, None), (STOCK, TQDM, None), (STOCK, JOB, None)]
    report([compare(title, samples, ratios, unit="ms")], as_json=options.json)


if __name__ == "__main__":
    main()
