"""Several kinds of servers measured in turn, each round in random order, and compared."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from typing import Any

from report import compare, report
from servers import NODE, STOCK, Brokers, Measure, add_async_mode, brokers, is_ours

__all__ = ["comparison", "parser", "rounds", "run"]

#: Samples of a figure by kind of server.
Samples = dict[str, list[float]]
#: Targets of the ratio of ours to a kind's, by figure.
Targets = dict[str, dict[str, float]]


def parser(*, count: int = 3, several: bool = True) -> argparse.ArgumentParser:
    """Return a command line with the options that all comparisons have.

    Args:
        count: rounds by default.
        several: whether a server on each of several libraries is measured.
    """
    made = argparse.ArgumentParser()
    made.add_argument("--rounds", type=int, default=count, help="default %(default)s")
    made.add_argument("--json", action="store_true", help="JSON instead of tables")
    add_async_mode(made, several=several)
    told = "a variable of ours, such as TASKBRIDGE_GATHER=0; may be repeated"
    made.add_argument("--set", action="append", type=variable, default=[], help=told)
    return made


def variable(text: str) -> tuple[str, str]:
    """Return name and value of ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} must be NAME=VALUE")
    return name, value


def rounds(
    count: int, kinds: list[str], measure: Callable[[str], dict[str, float]]
) -> dict[str, Samples]:
    """Measure all kinds in turn, in random order each round; return samples by figure."""
    found: dict[str, Samples] = {}
    for _ in range(count):
        for kind in random.sample(kinds, len(kinds)):
            for figure, value in measure(kind).items():
                found.setdefault(figure, {kind: [] for kind in kinds})[kind].append(value)
                print(f"{kind:22}{figure:34}{value:12,.1f}", file=sys.stderr)
    return found


def comparison(title: str, samples: Samples, targets: dict[str, float], unit: str) -> Any:
    """Return what was measured of one figure, with the ratios of ours to the others'."""
    ours = [kind for kind in samples if is_ours(kind)]
    others = [kind for kind in samples if not is_ours(kind) and all(samples[kind])]
    ratios = [(one, other, targets.get(other)) for one in ours for other in others]
    return compare(title, samples, ratios, unit=unit)


def run(measures: dict[str, Measure], targets: Targets, *, unit: str) -> None:
    """Measure as the command line says, and report.

    Args:
        measures: what each is called, and what takes brokers and a kind and returns figures.
        targets: of the ratio of ours to a kind's, by figure.
        unit: of the figures.
    """
    command = parser()
    command.add_argument("--only", default="", help="part of the name of what to measure")
    options = command.parse_args()
    comparisons = []
    with brokers(options.async_mode, (STOCK, NODE), dict(options.set)) as running:
        for name, measure in measures.items():
            if options.only not in name:
                continue
            for figure, samples in _measured(running, measure, options.rounds).items():
                title = f"{name}: {figure}"
                comparisons.append(comparison(title, samples, targets.get(figure, {}), unit))
    report(comparisons, as_json=options.json)


def _measured(running: Brokers, measure: Measure, count: int) -> dict[str, Samples]:
    return rounds(count, running.kinds, lambda kind: measure(running, kind))
