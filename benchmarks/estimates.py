"""How far off the time left is that a bar shows, beside tqdm's and rich's, in recorded runs."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from pathlib import Path
from typing import Any

from replays import ESTIMATORS, Estimator, Shown, ours, updates

from bridge.reporting import meter

RUNS = Path(__file__).with_name("runs.json")
#: Runs with which the constants of the meter were chosen; the others show whether they hold.
CHOSEN_WITH = (
    "steady",
    "ten_equal_items",
    "pages_of_results",
    "one_long_pause",
    "bytes_hashed",
    "files_compressed",
    "documents_parsed",
    "primes_counted",
    "paths_found_in_a_growing_cache",
    "done_items_skipped",
)


def errors(run: dict[str, Any], estimator: Estimator) -> Shown:
    """Return the error at each percent of the time, in percent of it; None: nothing is shown."""
    duration = run["seconds"][-1]
    moments = [duration * percent / 100 for percent in range(1, 100)]
    shown = estimator(run, updates(run), moments)
    return [
        None if left is None else 100 * abs(left - (duration - moment)) / duration
        for left, moment in zip(shown, moments, strict=True)
    ]


def mean(found: Shown, *others: Shown, most: float = math.inf) -> float:
    """Return the mean of a run's errors, each at most ``most``, where the others have one too."""
    rows = zip(found, *others, strict=True)
    return statistics.fmean(min(most, row[0] or 0.0) for row in rows if None not in row)


def summary(found: dict[str, dict[str, Shown]], names: list[str]) -> dict[str, dict[str, float]]:
    """Return of each way to sum up some runs its value for each estimator."""
    rivals = [found["tqdm"], found["rich"]]
    ways: dict[str, dict[str, float]] = {}
    for estimator, of in found.items():
        means = {
            "mean": [mean(of[name]) for name in names],
            "where all show one": [mean(of[name], *(r[name] for r in rivals)) for name in names],
            "the same, at most 100": [
                mean(of[name], *(r[name] for r in rivals), most=100) for name in names
            ],
        }
        for way, values in means.items():
            ways.setdefault(way, {})[estimator] = statistics.fmean(values)
        median = statistics.median(means["where all show one"])
        ways.setdefault("median of the runs", {})[estimator] = median
    return ways


def print_runs(runs: dict[str, Any], found: dict[str, dict[str, Shown]]) -> None:
    """Print a row for each run, and what they come to."""
    print("error of the time left, in percent of the run; in brackets: percent without one\n")
    print(f"{'':34}{'seconds':>8}" + "".join(f"{name:>16}" for name in found))
    for name, run in runs.items():
        cells = (f"{mean(of[name]):9.1f} ({of[name].count(None):2})  " for of in found.values())
        print(f"{name:34}{run['seconds'][-1]:8.0f}  " + "".join(cells))
    others = [name for name in runs if name not in CHOSEN_WITH]
    groups = {"all": [*runs], "constants chosen with": [*CHOSEN_WITH], "others": others}
    for group, names in groups.items():
        print(f"\n{group} ({len(names)})")
        for way, values in summary(found, names).items():
            cells = (f"{value:9.1f}       " for value in values.values())
            print(f"{way:44}" + "".join(cells))


def print_constants(runs: dict[str, Any]) -> None:
    """Print how far off other constants are in the runs with which they were chosen."""
    chosen = {name: runs[name] for name in CHOSEN_WITH}
    print("mean error of ten runs, each at most 100\n\nMEMORY  MEMORY_SHARE")
    for meter.MEMORY, meter.MEMORY_SHARE in itertools.product(
        (3.0, 5.0, 10.0, 20.0, 30.0, 60.0), (0.0, 0.25, 0.5, 1.0)
    ):
        error = statistics.fmean(mean(errors(run, ours), most=100) for run in chosen.values())
        print(f"{meter.MEMORY:6g}{meter.MEMORY_SHARE:14g}{error:8.2f}")


def main() -> None:
    """Replay all runs with each estimator, and print how far off it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    parser.add_argument("--constants", action="store_true", help="compare constants of the meter")
    options = parser.parse_args()
    runs = json.loads(RUNS.read_text())
    if options.constants:
        print_constants(runs)
        return
    found = {
        estimator: {name: errors(run, replay) for name, run in runs.items()}
        for estimator, replay in ESTIMATORS.items()
    }
    if options.json:
        print(json.dumps({"errors": found, "summary": summary(found, [*runs])}, indent=2))
    else:
        print_runs(runs, found)


if __name__ == "__main__":
    main()
