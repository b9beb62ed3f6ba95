"""Draw what the benchmarks beside the plain recipe have found, and put it into the docs.

Usage: performance.py FILE..., with what ``fanout.py --json`` and ``latency.py --json`` printed.
"""

from __future__ import annotations

import json
import math
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
    "KiB per idle client": ("KiB of the server's memory per idle client", False),
    "p50": ("milliseconds from the call to the client, median", False),
    "p99": ("milliseconds from the call to the client, 99th percentile", False),
    "max": ("milliseconds from the call to the client, at most", False),
    "events read per CPU second": ("events read per CPU second of the server", True),
}
OURS, STOCK = "taskbridge", "plain recipe"
ROW, BAR, LEFT, WIDTH = 46, 15, 330, 860
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.taskbridge { fill: #2563eb } .plain-recipe { fill: #9ca3af }
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


def plot(rows: list[tuple[str, dict[str, Any]]]) -> str:
    """Return bars on a logarithmic scale, ours above the plain recipe's, as SVG."""
    values = [row["variants"][kind]["median"] for _, row in rows for kind in (OURS, STOCK)]
    low = 10 ** math.floor(math.log10(min(values)) - 0.3)
    scale = (WIDTH - LEFT - 90) / math.log10(max(values) / low)
    parts = [STYLE]
    for number, (name, row) in enumerate(rows):
        top = number * ROW + 8
        parts.append(f'<text x="0" y="{top + BAR + 5}">{escape(name)}</text>')
        for place, kind in enumerate((OURS, STOCK)):
            value, y = row["variants"][kind]["median"], top + place * (BAR + 2)
            length = max(1.0, scale * math.log10(value / low))
            look = kind.replace(" ", "-")
            parts.append(
                f'<rect class="{look}" x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}"/>'
            )
            text = f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
            parts.append(f'<text x="{LEFT + length + 6:.0f}" y="{y + 12}">{text}</text>')
    height = len(rows) * ROW + 12
    box = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box}>\n' + "\n".join(parts) + "\n</svg>\n"


def table(rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return a table of medians, quartiles and ratios, in Markdown."""
    lines = ["| | taskbridge | plain recipe | ratio |", "|---|---|---|---|"]
    for name, row in rows:
        cells = [_spread(row["variants"][kind]) for kind in (OURS, STOCK)]
        ratio = row["ratios"][0]["median_of_rounds"]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} | {ratio:.2f} |")
    return lines


def _spread(one: dict[str, float]) -> str:
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
        image = f"images/{figure.replace(' ', '-').lower()}.svg"
        (DOCS / image).write_text(plot(rows))
        better = "more is better" if more else "less is better"
        lines += [f"### {title[0].upper()}{title[1:]}", "", f"![{title}]({image})", ""]
        lines += [f"Median and quartiles; {better}. Logarithmic scale.", "", *table(rows), ""]
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n" + END + after)


if __name__ == "__main__":
    main()
