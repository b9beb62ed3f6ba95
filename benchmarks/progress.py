"""What a step of a bar costs a job beside tqdm's, and a log line beside one of `logging`."""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import logging
import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from enqueue import broker
from report import Samples, compare, report
from tqdm import tqdm

from bridge import job, progress
from bridge.reporting import current_job
from bridge.reporting.run import Run
from bridge.sending.emitter import Emitter
from bridge.sending.process_emitters import emitter_for
from bridge.settings import Settings

#: Wall and CPU seconds.
Seconds = tuple[float, float]

#: Seconds that a job waits for its events to be sent, before it or after it is measured.
PATIENCE = 30.0
#: One log line for so many steps of a bar: it costs far more.
STEPS_PER_LINE = 50

BARE = "the bare loop itself, subtracted from the others"
ITERATE = "for _ in progress(range(n))"
TQDM_ITERATE = "for _ in tqdm(range(n))"
UPDATE = "progress(total=n).update(1)"
TQDM_UPDATE = "tqdm(total=n).update(1)"
LOG = 'job.log("line")'
LOGGING = 'logger.info("line"), to a StreamHandler'


def begin(url: str, home: Path) -> tuple[Run, Emitter]:
    """Enter a job, as a worker does before it calls a task."""
    emitter = emitter_for(Settings(broker_url=url, home=home))
    name = str(uuid.uuid4())
    run = Run(job=name, task=name, name="benchmark", owner="me")
    emitter.add(run)
    current_job.enter(run, emitter)
    emitter.put(run, "started", {"attempt": 1})
    return run, emitter


def end(run: Run, emitter: Emitter) -> None:
    """Leave a job, as a worker does after a task returned."""
    emitter.put(run, "succeeded", {})
    current_job.leave(run.task)
    emitter.remove(run)


def flush(emitter: Emitter) -> None:
    """Wait until the broker has confirmed what was handed over so far; without it, give up."""
    if not emitter.flush(PATIENCE, patient=True):
        sys.exit(f"the broker has not taken all events within {PATIENCE:g} s")


def _bare(steps: int) -> None:
    for _ in range(steps):
        pass


def _iterate(make: Callable[..., Any], steps: int) -> None:
    for _ in make(range(steps)):
        pass


def _update(make: Callable[..., Any], steps: int) -> None:
    with make(total=steps) as bar:
        for _ in range(steps):
            bar.update(1)


def _log(call: Callable[[str], None], lines: int) -> None:
    for _ in range(lines):
        call("line")


def seconds(loop: Callable[[], Any]) -> Seconds:
    """Return wall and CPU seconds that a loop takes; CPU is that of all threads."""
    gc.collect()
    begun, used = time.perf_counter(), time.process_time()
    loop()
    return time.perf_counter() - begun, time.process_time() - used


def seconds_in_job(url: str, home: Path, loop: Callable[[], Any]) -> Seconds:
    """Return the same of a loop in a job of its own, the sender being connected."""
    run, emitter = begin(url, home)
    flush(emitter)
    took = seconds(loop)
    end(run, emitter)
    flush(emitter)  # so that nothing is left to be sent while the next variant is measured
    return took


def _logger(null: IO[str]) -> logging.Logger:
    logger = logging.getLogger("benchmark")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(logging.StreamHandler(null))
    return logger


def variants(
    url: str, home: Path, steps: int, null: IO[str]
) -> dict[str, tuple[int, Callable[[], Seconds]]]:
    """Return of each variant its number of steps and what measures them all."""
    lines = max(1, steps // STEPS_PER_LINE)
    plain = functools.partial(tqdm, file=null)
    in_job = functools.partial(seconds_in_job, url, home)
    info = _logger(null).info
    return {
        ITERATE: (steps, lambda: in_job(lambda: _iterate(progress, steps))),
        TQDM_ITERATE: (steps, lambda: seconds(lambda: _iterate(plain, steps))),
        UPDATE: (steps, lambda: in_job(lambda: _update(progress, steps))),
        TQDM_UPDATE: (steps, lambda: seconds(lambda: _update(plain, steps))),
        LOG: (lines, lambda: in_job(lambda: _log(job.log, lines))),
        LOGGING: (lines, lambda: seconds(lambda: _log(info, lines))),
        BARE: (steps, lambda: seconds(lambda: _bare(steps))),
    }


def measure(
    calls: dict[str, tuple[int, Callable[[], Seconds]]], rounds: int
) -> tuple[Samples, Samples]:
    """Return nanoseconds a step adds to the bare loop of the same round: wall and CPU."""
    both: tuple[Samples, Samples] = {name: [] for name in calls}, {name: [] for name in calls}
    for _ in range(rounds):
        took = {name: calls[name][1]() for name in random.sample(list(calls), len(calls))}
        for index, samples in enumerate(both):
            each = {name: took[name][index] / steps * 1e9 for name, (steps, _) in calls.items()}
            for name, one in each.items():
                samples[name].append(one if name == BARE else one - each[BARE])
    return both


def comparisons(wall: Samples, cpu: Samples, steps: int) -> list[dict[str, Any]]:
    """Return what was measured of steps and of lines, summed up."""
    steps_ratios = [(ITERATE, TQDM_ITERATE, 0.7), (UPDATE, TQDM_UPDATE, 0.3)]
    untargeted = [(one, other, None) for one, other, _ in steps_ratios]
    log_ratios = [(LOG, LOGGING, None)]

    def some(title: str, samples: Samples, names: list[str], ratios: list[Any]) -> dict[str, Any]:
        return compare(title, {name: samples[name] for name in names}, ratios, unit="ns")

    bars = [ITERATE, TQDM_ITERATE, UPDATE, TQDM_UPDATE, BARE]
    lines = [LOG, LOGGING]
    return [
        some(f"what a step adds, n = {steps:,}, wall time", wall, bars, steps_ratios),
        some(f"what a step adds, n = {steps:,}, CPU of all threads", cpu, bars, untargeted),
        some("what a log line adds, wall time", wall, lines, log_ratios),
        some("what a log line adds, CPU of all threads", cpu, lines, log_ratios),
    ]


@contextlib.contextmanager
def places(broker_url: str | None) -> Iterator[tuple[str, Path]]:
    """Give a broker's URL, and a folder for the settings' home."""
    with broker(broker_url) as url, tempfile.TemporaryDirectory() as home:
        yield url, Path(home)


def main() -> None:
    """Measure in rounds, each variant once a round in random order, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker-url", help="default: a RabbitMQ node of our own")
    parser.add_argument("--rounds", type=int, default=15, help="default %(default)s")
    parser.add_argument(
        "--steps", type=int, default=10**6, help="of a bar, a round; default %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    with places(options.broker_url) as (url, home), Path(os.devnull).open("w") as null:
        calls = variants(url, home, options.steps, null)
        measure(calls, 1)  # connects and fills caches
        wall, cpu = measure(calls, options.rounds)
    report(comparisons(wall, cpu, options.steps), as_json=options.json)


if __name__ == "__main__":
    main()
