"""The bars at a terminal: a line each, at any width, and none is left behind when that changes."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len

from bridge.cli.console import SafeConsole
from bridge.cli.live import Bars

LONG = "Reading the orders of all customers \u5ba2\u6237 of the northern region " * 3
FIELDS = {"percent": "17 %", "counts": "71/400 order", "speed": "9.9 order/s", "left": "33s left"}


@pytest.fixture
def drawn(request):
    """Bars that are drawn by hand, and the console on which they are."""
    console = SafeConsole(file=io.StringIO(), force_terminal=True, width=120, height=20)
    bars = Bars(console)
    bars.live.auto_refresh = False
    bars.add_task(LONG, total=400, completed=71, **FIELDS)
    bars.add_task("short", total=400, completed=400, **FIELDS)
    bars.add_task("gone", total=1, visible=False, **FIELDS)
    return bars, console


def lines_of(bars, console, width):
    console.width = width
    with console.capture() as captured:
        console.print(bars.make_tasks_table(bars.tasks), style="none")
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 120, 300])
def test_each_bar_takes_one_line_with_its_text_cut_and_its_bar_drawn(drawn, width):
    bars, console = drawn
    console._color_system = None
    lines = lines_of(bars, console, width)
    assert len(lines) == 2
    assert max(map(cell_len, lines)) <= width
    assert all("\u2501" in line for line in lines)
    assert ("\u2026" in lines[0]) == (width < 300)


@pytest.mark.parametrize(("width", "wrapped"), [(100, 1), (118, 1), (59, 2), (119, 0), (200, 0)])
def test_rows_that_a_narrower_terminal_has_wrapped_are_cleared(drawn, width, wrapped):
    bars, console = drawn
    lines_of(bars, console, 120)
    console.width = width
    with console.capture() as captured:
        bars.mend()
        bars.mend()  # once is enough
    assert captured.get() == "\x1b[2K\x1b[1A" * 2 * wrapped
