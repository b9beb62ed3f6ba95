"""What CPU a process takes whose jobs' bars are sampled and sent, and one that has no job."""

from __future__ import annotations

import argparse
import functools
import random
import time
from collections.abc import Callable
from pathlib import Path

from progress import begin, end, flush, places
from report import Samples, compare, report

from bridge import progress
from bridge.reporting.run import Run
from bridge.sending.emitter import Emitter

#: Updates of each bar a second: twice as often as it is sampled.
RATE = 20
#: Bars, and how many jobs at once they belong to: one job shows at most 32.
SIZES = {1: 1, 10: 1, 100: 4}
#: Seconds that a job pretends to have gone on for: during its first, it is sampled more often.
AGE = 10.0

REST = "at rest, no job"


def _job(bars: int) -> str:
    jobs = f" of {SIZES[bars]} jobs" if SIZES[bars] > 1 else ""
    return f"{bars} bar{'s' * (bars > 1)}{jobs}"


def _plain(bars: int) -> str:
    return f"{bars} plain integer{'s' * (bars > 1)}, subtracted above"


def cpu(step: Callable[[], None], seconds: float) -> float:
    """Return CPU of all threads, in percent of a core, while a step is done at the rate."""
    begun, used = time.perf_counter(), time.process_time()
    for tick in range(1, round(seconds * RATE) + 1):
        step()
        time.sleep(max(0.0, begun + tick / RATE - time.perf_counter()))
    return (time.process_time() - used) / (time.perf_counter() - begun) * 100


def at_rest(seconds: float) -> float:
    """Return CPU of all threads, in percent of a core, while no job runs; the sender waits."""
    begun, used = time.perf_counter(), time.process_time()
    time.sleep(seconds)
    return (time.process_time() - used) / (time.perf_counter() - begun) * 100


def of_bars(url: str, home: Path, count: int, seconds: float) -> float:
    """Return CPU of all threads, in percent of a core, while so many bars of jobs move."""
    jobs: list[tuple[Run, Emitter]] = []
    bars = []
    for _ in range(SIZES[count]):
        run, emitter = begin(url, home)
        run.started_at -= AGE
        jobs.append((run, emitter))
        bars += [progress(total=10**6, desc="copying") for _ in range(count // SIZES[count])]
    flush(emitter)

    def step() -> None:
        for bar in bars:
            bar.update(1)

    used = cpu(step, seconds)
    for bar in bars:
        bar.close()
    for run, emitter in jobs:
        end(run, emitter)
    flush(emitter)
    return used


def of_integers(count: int, seconds: float) -> float:
    """Return the same, in percent of a core, with integers in the place of bars."""
    numbers = [0] * count

    def step() -> None:
        for index in range(count):
            numbers[index] += 1

    return cpu(step, seconds)


def measure(url: str, home: Path, options: argparse.Namespace) -> Samples:
    """Return percent of a core of each variant, each once a round in random order."""
    calls: dict[str, Callable[[float], float]] = {REST: at_rest}
    calls |= {_job(count): functools.partial(of_bars, url, home, count) for count in SIZES}
    calls |= {_plain(count): functools.partial(of_integers, count) for count in SIZES}
    of_bars(url, home, 1, 0.5)  # connects and fills caches
    samples: Samples = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name in random.sample(list(calls), len(calls)):
            samples[name].append(calls[name](options.seconds))
    for count in SIZES:
        both = zip(samples[_job(count)], samples[_plain(count)], strict=True)
        samples[_job(count)] = [one - other for one, other in both]
    return samples


def main() -> None:
    """Measure and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker-url", help="default: a RabbitMQ node of our own")
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="of a variant, a round; default %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    with places(options.broker_url) as (url, home):
        samples = measure(url, home, options)
    title = f"CPU of all threads, each bar updated {RATE} times a second"
    report([compare(title, samples, [], unit="% of a core")], as_json=options.json)


if __name__ == "__main__":
    main()
