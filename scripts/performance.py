"""Draw what the benchmarks beside the plain recipe and Node have found, and put it into the docs.

Usage: performance.py FILE..., with what ``fanout.py --json``, ``latency.py --json``, ``storm.py
--json`` and ``guarantees.py --json`` printed.
"""

from __future__ import annotations

import json
import math
import re
import sys
from html import escape
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, DATA = DOCS / "performance.md", DOCS / "performance.json"
BEGIN, END = "<!-- figures: scripts/performance.py -->", "<!-- end of figures -->"
#: What is drawn and listed: figure, its unit, and whether more is better.
FIGURES = {
    "deliveries per CPU second": ("deliveries per CPU second of the server", True),
    "connects per CPU second": ("connects per CPU second of the server", True),
    "KiB per idle client": ("KiB of the server's memory per idle client", False),
    "p50": ("milliseconds from the call to the client, median", False),
    "p99": ("milliseconds from the call to the client, 99th percentile", False),
    "max": ("milliseconds from the call to the client, at most", False),
    "all watch again (s)": ("seconds until all clients watch again", False),
    "peak of the memory (MiB)": ("MiB of the server's memory at most", False),
    "events read per CPU second": ("events read per CPU second of the server", True),
}
#: How the titles of costs of guarantees begin.
COST = "cost in "
#: Kinds of servers, in the order of their bars and columns; those that were not measured are left
#: out. Ours are compared with the others.
OURS = ("taskbridge", "taskbridge on gevent")
OTHERS = ("plain recipe", "Node")
BAR, LEFT, WIDTH = 15, 330, 860
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.taskbridge { fill: #2563eb } .taskbridge-on-gevent { fill: #7c3aed }
.plain-recipe { fill: #9ca3af } .node { fill: #15803d }
@media (prefers-color-scheme: dark) { text { fill: #e5e7eb } .taskbridge { fill: #60a5fa } }
</style>"""


def by_figure(comparisons: list[dict[str, Any]]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return what was compared, by figure: what it was measured on, and the comparison."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for one in comparisons:
        name, _, figure = one["title"].rpartition(": ")
        if figure in FIGURES:
            found.setdefault(figure, []).append((name, one))
    return found


def kinds_of(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return the kinds of servers that any of the rows has."""
    return [kind for kind in (*OURS, *OTHERS) if any(kind in row["variants"] for _, row in rows)]


def plot(rows: list[tuple[str, dict[str, Any]]]) -> str:
    """Return bars on a logarithmic scale, ours above the others', as SVG."""
    kinds = kinds_of(rows)
    values = [one["median"] for _, row in rows for one in row["variants"].values()]
    low = 10 ** math.floor(math.log10(min(values)) - 0.3)
    scale = (WIDTH - LEFT - 240) / math.log10(max(values) / low)
    each = len(kinds) * (BAR + 2) + 12
    parts = [STYLE]
    for number, (name, row) in enumerate(rows):
        top = number * each + 8
        parts.append(f'<text x="0" y="{top + BAR + 5}">{escape(name)}</text>')
        for place, kind in enumerate(kind for kind in kinds if kind in row["variants"]):
            value = row["variants"][kind]["median"]
            length = max(1.0, scale * math.log10(value / low))
            parts += _bar(kind, value, length, top + place * (BAR + 2))
    height = len(rows) * each + 12
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>\n' + "\n".join(parts) + "\n</svg>\n"


def _bar(kind: str, value: float, length: float, y: int) -> list[str]:
    look, size = kind.replace(" ", "-").lower(), f'width="{length:.0f}" height="{BAR}"'
    text = f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
    return [
        f'<rect class="{look}" x="{LEFT}" y="{y}" {size}/>',
        f'<text x="{LEFT + length + 6:.0f}" y="{y + 12}">{text} {kind}</text>',
    ]


def table(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return a table of medians, quartiles and ratios, in Markdown."""
    kinds = kinds_of(rows)
    pairs = [(one, other) for one in OURS for other in OTHERS if {one, other} <= {*kinds}]
    head = ["", *kinds, *(f"{one} / {other}" for one, other in pairs)]
    lines = [_row(head), "|---" * len(head) + "|"]
    for name, row in rows:
        cells = [_spread(row["variants"].get(kind)) for kind in kinds]
        found = {(one["variant"], one["baseline"]): one for one in row["ratios"]}
        cells += [_ratio(found.get(pair)) for pair in pairs]
        lines.append(_row([name, *cells]))
    return lines


def costs(comparisons: list[dict[str, Any]]) -> list[str]:
    """Return a section on what each guarantee costs, in Markdown; [] if none was measured."""
    found = {
        one["title"].removeprefix(COST): one["variants"]
        for one in comparisons
        if one["title"].startswith(COST)
    }
    if not found:
        return []
    head = ["", *found]
    lines = ["### Microseconds of CPU that a guarantee costs", ""]
    lines += ["Median and quartiles; less is better.", "", _row(head), "|---" * len(head) + "|"]
    for name in dict.fromkeys(name for variants in found.values() for name in variants):
        lines.append(_row([name, *(_spread(variants.get(name)) for variants in found.values())]))
    return [*lines, ""]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |", 1)


def _ratio(one: dict[str, float] | None) -> str:
    return f"{one['median_of_rounds']:.2f}" if one else ""


def _spread(one: dict[str, float] | None) -> str:
    if one is None:
        return ""
    numbers = [f"{one[key]:,.0f}" if one[key] >= 100 else f"{one[key]:.1f}" for key in KEYS]
    return f"{numbers[0]} ({numbers[1]}–{numbers[2]})"


KEYS = ("median", "q1", "q3")


def main() -> None:
    """Draw."""
    if not sys.argv[1:]:
        sys.exit("performance.py: name the files that the benchmarks' --json was written to")
    comparisons = [one for file in sys.argv[1:] for one in json.loads(Path(file).read_text())]
    DATA.write_text(json.dumps(comparisons, indent=1) + "\n")
    lines = []
    for figure, rows in by_figure(comparisons).items():
        title, more = FIGURES[figure]
        image = f"images/{re.sub('[^a-z0-9]+', '-', figure.lower()).strip('-')}.svg"
        (DOCS / image).write_text(plot(rows))
        better = "more is better" if more else "less is better"
        lines += [f"### {title[0].upper()}{title[1:]}", "", f"![{title}]({image})", ""]
        lines += [f"Median and quartiles; {better}. Logarithmic scale.", "", *table(rows), ""]
    lines += costs(comparisons)
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n" + END + after)


if __name__ == "__main__":
    main()
