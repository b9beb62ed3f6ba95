"""Samples of several variants as a table for a person or as JSON for a program."""

from __future__ import annotations

import json
import platform
import statistics
import sys
from typing import Any

#: Each variant's name and its samples.
Samples = dict[str, list[float]]


def summary(samples: list[float]) -> dict[str, float]:
    """Return median, first and third quartile, least and number of samples."""
    first, median, third = _quartiles(samples)
    return {
        "median": median,
        "q1": first,
        "q3": third,
        "least": min(samples),
        "samples": len(samples),
    }


def ratio(samples: Samples, variant: str, baseline: str) -> dict[str, float]:
    """Return the ratio of two variants' medians, and the median of the rounds' own ratios.

    The two agree if the machine was quiet. In the second, what slowed one round slowed both.
    """
    rounds = [a / b for a, b in zip(samples[variant], samples[baseline], strict=True)]
    medians = statistics.median(samples[variant]) / statistics.median(samples[baseline])
    first, median, third = _quartiles(rounds)
    return {"of_medians": medians, "median_of_rounds": median, "q1": first, "q3": third}


def _quartiles(samples: list[float]) -> list[float]:
    return statistics.quantiles(samples, n=4) if len(samples) > 1 else samples * 3


def compare(
    title: str, samples: Samples, ratios: list[tuple[str, str, float | None]], *, unit: str
) -> dict[str, Any]:
    """Return what was measured, summed up.

    Args:
        title: what it is about.
        samples: in ``unit``.
        ratios: variant, baseline and, where there is one, the target of their ratio.
        unit: of the samples.
    """
    return {
        "title": title,
        "unit": unit,
        "machine": {"python": platform.python_version(), "platform": platform.platform()},
        "variants": {name: summary(values) for name, values in samples.items()},
        "ratios": [
            {"variant": one, "baseline": other, "target": target, **ratio(samples, one, other)}
            for one, other, target in ratios
        ],
    }


def report(comparisons: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print comparisons, as tables or as a JSON list."""
    if as_json:
        json.dump(comparisons, sys.stdout, indent=2)
        print()
    else:
        for comparison in comparisons:
            _print_table(comparison)


def _print_table(result: dict[str, Any]) -> None:
    print(f"{result['title']} ({result['unit']}, Python {result['machine']['python']})\n")
    print(f"{'':48}{'median':>9}{'q1':>9}{'q3':>9}{'least':>9}{'samples':>9}")
    for name, one in result["variants"].items():
        numbers = "".join(_number(one[key], 9) for key in ("median", "q1", "q3", "least"))
        print(f"{name:48}{numbers}{one['samples']:9}")
    if result["ratios"]:
        _print_ratios(result["ratios"])
    print()


def _print_ratios(ratios: list[dict[str, Any]]) -> None:
    print(f"\n{'ratio':68}{'medians':>9}{'rounds':>9}{'q1':>7}{'q3':>7}  target")
    for one in ratios:
        name = f"{one['variant']} / {one['baseline']}"
        target = "" if one["target"] is None else f"{one['target']:g}"
        numbers = _number(one["of_medians"], 9) + _number(one["median_of_rounds"], 9)
        print(f"{name:68}{numbers}{_number(one['q1'], 7)}{_number(one['q3'], 7)}  {target}")


def _number(value: float, width: int) -> str:
    """Return a number with two decimals, or none where it would touch the column before."""
    text = f"{value:.2f}"
    return f"{text if len(text) < width else format(value, '.0f'):>{width}}"
