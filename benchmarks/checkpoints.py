"""What a checkpoint in each step costs a task, with stores that are quick, slow, away or hang."""

from __future__ import annotations

import argparse
import functools
import gc
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from celery import Celery  # noqa: E402
from progress import begin, end, flush, places  # noqa: E402
from report import Samples, compare, report  # noqa: E402

from bridge import job, progress  # noqa: E402
from bridge.checkpoints import of_task  # noqa: E402
from bridge.checkpoints.stores import store_in  # noqa: E402
from bridge.settings import Settings  # noqa: E402
from support.hanging import Hanging  # noqa: E402
from support.ports import free_port  # noqa: E402
from support.redis import Redis  # noqa: E402

#: What a step of the job computes with for a millisecond. It allocates nothing: the time of what
#: does depends on what else is in memory.
DATA = [float(number) for number in range(100_000)]
#: Steps of a job whose calls are timed one by one.
APART = 300
#: Seconds that the slow store takes for each call.
SLOW = 1.0
NUMBER = "job.checkpoint(row)"
STATE = 'job.checkpoint({"row": row, "name": …})'
RESUME = "for row in job.resume(range(n))"
STATES: dict[str, Callable[[int], object]] = {
    NUMBER: lambda row: row,
    STATE: lambda row: {"row": row, "name": "orders.csv"},
}
NONE, QUICK, SLOWLY, AWAY, HANGS = "no checkpoints", "quick", "slow", "away", "hangs"


def in_job(url: str, home: Path, app: Celery, loop: Callable[[], object]) -> tuple[float, float]:
    """Return wall seconds of a job, and CPU seconds of its thread with what its end waits.

    On a busy machine wall time says more about the others.
    """
    run, emitter = begin(url, home)
    run.checkpoints = of_task.checkpoints_of(
        app, run.task, {}, Settings(), lambda: run.share, lambda why: None
    )
    flush(emitter)
    gc.collect()
    begun, used = time.perf_counter(), time.thread_time()
    loop()
    worked, computed = time.perf_counter() - begun, time.thread_time() - used
    run.checkpoints.end(keep=False)
    waited = time.perf_counter() - begun - worked
    end(run, emitter)
    flush(emitter)
    return worked + waited, computed + waited


def _note(state: Callable[[int], object], steps: int) -> None:
    for row in range(steps):
        job.checkpoint(state(row))


def _make(state: Callable[[int], object], steps: int) -> None:
    for row in range(steps):
        state(row)


def _bare(rows: Any) -> None:
    for _ in rows:
        pass


def _resume(steps: int) -> None:
    _bare(job.resume(range(steps)))


def step_costs(url: str, home: Path, app: Celery, steps: int, rounds: int) -> Samples:
    """Return nanoseconds of the task's thread that a checkpoint adds to a step of a loop."""
    timed = functools.partial(in_job, url, home, app)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        name: (functools.partial(_note, state, steps), functools.partial(_make, state, steps))
        for name, state in STATES.items()
    }
    pairs[RESUME] = (
        functools.partial(_resume, steps),
        lambda: _bare(progress(range(steps))),
    )
    samples: Samples = {name: [] for name in pairs}
    for _ in range(rounds):
        for name in random.sample(list(pairs), len(pairs)):
            with_it, without = (timed(loop)[1] for loop in pairs[name])
            samples[name].append((with_it - without) / steps * 1e9)
    return samples


def _work(steps: int, checkpoints: bool) -> None:
    """Compute; a step takes about a millisecond."""
    for row in progress(range(steps)):
        max(DATA)
        if checkpoints:
            job.checkpoint({"row": row})


def cold_costs(url: str, home: Path, app: Celery, rounds: int) -> Samples:
    """Return nanoseconds of calls between steps that leave little of them in the caches."""
    state = STATES[STATE]
    calls: dict[str, Callable[[int], object]] = {
        STATE: lambda row: job.checkpoint(state(row)),
        f"json.dumps of its state, {NONE}": lambda row: json.dumps(state(row)),
        "job.raise_if_cancelled()": lambda row: job.raise_if_cancelled(),
    }
    samples: Samples = {name: [] for name in calls}
    for _ in range(rounds):
        for name in random.sample(list(calls), len(calls)):
            one = functools.partial(_timed_apart, calls[name], samples[name])
            in_job(url, home, app, one)
    return samples


def _timed_apart(call: Callable[[int], object], found: list[float]) -> None:
    """Add the median time of a call after each of some steps."""
    times = []
    for row in range(APART):
        max(DATA)
        begun = time.perf_counter_ns()
        call(row)
        times.append(time.perf_counter_ns() - begun)
    found.append(statistics.median(times))


def job_times(
    url: str, home: Path, apps: dict[str, Celery], steps: int, rounds: int
) -> tuple[Samples, Samples]:
    """Return seconds of a job with checkpoints in each kind of store, and of one without.

    See :func:`in_job` for the two.
    """
    both: tuple[Samples, Samples] = {name: [] for name in apps}, {name: [] for name in apps}
    for _ in range(rounds):
        for name in random.sample(list(apps), len(apps)):
            of_task.store_in = _slowly if name == SLOWLY else store_in  # type: ignore[attr-defined]
            work = functools.partial(_work, steps, name != NONE)
            for samples, took in zip(both, in_job(url, home, apps[name], work), strict=True):
                samples[name].append(took)
    return both


def _slowly(*arguments: Any) -> Any:
    time.sleep(SLOW)
    return store_in(*arguments)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what was measured, summed up."""
    with (
        places(options.broker_url) as (url, home),
        tempfile.TemporaryDirectory() as folder,
        Hanging() as hanging,
    ):
        redis = Redis(Path(folder)).start()
        away = f"redis://127.0.0.1:{free_port()}/0"
        # Different URLs, since calls to one do not wait for those to another.
        slow = redis.url.replace("/0", "/1")
        urls = {NONE: redis.url, QUICK: redis.url, SLOWLY: slow, AWAY: away, HANGS: hanging.redis}
        apps = {name: Celery(backend=one, set_as_current=False) for name, one in urls.items()}
        try:
            step_costs(url, home, apps[QUICK], options.steps // 10, 1)
            costs = step_costs(url, home, apps[QUICK], options.steps, options.rounds)
            cold = cold_costs(url, home, apps[QUICK], options.rounds)
            wall, own = job_times(url, home, apps, options.work, options.rounds)
        finally:
            redis.stop()
    ratios = [(QUICK, NONE, None), *((name, QUICK, 1.01) for name in (SLOWLY, AWAY, HANGS))]
    title = f"a job of {options.work:,} steps, a checkpoint in each, by its store"
    return [
        compare(
            f"what a checkpoint adds to a step, n = {options.steps:,}, CPU of the task's thread",
            costs,
            [],
            unit="ns",
        ),
        compare("what a call takes after a step of a millisecond", cold, [], unit="ns"),
        compare(f"{title}: CPU of its thread, and what its end waits", own, ratios, unit="s"),
        compare(f"{title}: wall time", wall, ratios, unit="s"),
    ]


def main() -> None:
    """Measure in rounds, each variant once a round in random order, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker-url", help="default: a RabbitMQ node of our own")
    parser.add_argument("--rounds", type=int, default=9, help="default %(default)s")
    parser.add_argument("--steps", type=int, default=200_000, help="default %(default)s")
    parser.add_argument("--work", type=int, default=5_000, help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    options = parser.parse_args()
    report(measure(options), as_json=options.json)


if __name__ == "__main__":
    main()
