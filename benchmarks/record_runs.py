"""Record the runs that ``estimates.py`` replays: when real work finished each of its items.

Overwrites ``runs.json``, or the named runs in it. Takes about eight minutes, and reads files of a
Debian system.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recorded_work import COMPUTING, SLEEPING, Work

RUNS = Path(__file__).with_name("runs.json")
#: Largest difference between a recorded time and the stored one, as a part of the run.
TOLERANCE = 0.002


def record(work: Callable[[], Work]) -> dict[str, Any]:
    """Do some work, and return it as a run: total, initial and points ``[seconds, n]``."""
    total, n, steps = work()
    initial, begun, largest = n, time.monotonic(), 1
    points = [(0.0, n)]
    for step in steps:
        seconds = time.monotonic() - begun
        if step > 1:  # all of it at once
            largest = max(largest, step)
            points.append((seconds, n))
        n += step
        points.append((seconds, n))
    few = thinned(points, points[-1][0] * TOLERANCE)
    return {
        "what": work.__doc__,
        "initial": initial,
        "total": total,
        "step": largest,
        "seconds": [round(seconds, 3) for seconds, _ in few],
        "n": [count for _, count in few],
    }


def thinned(points: list[tuple[float, int]], tolerance: float) -> list[tuple[float, int]]:
    """Return some of the points, between which the times of the others can be interpolated.

    This is the algorithm of Ramer, Douglas and Peucker, with the error of the time.
    """
    kept, stretches = {0, len(points) - 1}, [(0, len(points) - 1)]
    while stretches:
        first, last = stretches.pop()
        (begun, before), (ended, after) = points[first], points[last]
        slope = (ended - begun) / (after - before) if after > before else 0.0
        worst, at = tolerance, 0
        for index in range(first + 1, last):
            seconds, n = points[index]
            if (error := abs(begun + (n - before) * slope - seconds)) > worst:
                worst, at = error, index
        if at:
            kept.add(at)
            stretches += [(first, at), (at, last)]
    return [points[index] for index in sorted(kept)]


def _record(name: str) -> tuple[str, dict[str, Any]]:
    return name, record((SLEEPING | COMPUTING)[name])


def main() -> None:
    """Record the named runs, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="default: all runs")
    wanted = parser.parse_args().names or [*SLEEPING, *COMPUTING]
    runs = json.loads(RUNS.read_text()) if RUNS.exists() else {}
    waiting = [name for name in wanted if name in SLEEPING]
    busy = [name for name in wanted if name in COMPUTING]
    with multiprocessing.Pool(len(waiting) or 1) as wide, multiprocessing.Pool(2) as narrow:
        found = [wide.imap_unordered(_record, waiting), narrow.imap_unordered(_record, busy)]
        for name, run in itertools.chain(*found):
            runs[name] = run
            print(f"{name}: {run['seconds'][-1]:.0f} s, {len(run['n'])} points", flush=True)
    ordered = (
        f'"{name}": {json.dumps(runs[name])}' for name in [*SLEEPING, *COMPUTING] if name in runs
    )
    RUNS.write_text("{\n" + ",\n".join(ordered) + "\n}\n")


if __name__ == "__main__":
    main()
