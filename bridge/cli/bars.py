"""``Bars``: rich's progress display, with one line for each bar whatever the terminal's width."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from itertools import chain, repeat

from rich.cells import cell_len
from rich.console import RenderableType
from rich.control import Control
from rich.progress import BarColumn, Progress, SpinnerColumn, Task
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from bridge.cli.console import Cell, SafeConsole

__all__ = ["Bars", "fitted"]

#: Columns, by their place.
SPINNER, TEXT, BAR, PERCENT, COUNTS, SPEED, LEFT = range(7)
#: Columns that are left out where there is too little room, the first one first.
OPTIONAL = (SPEED, COUNTS, LEFT, PERCENT, SPINNER)
#: Widths in characters: of a bar, and the least ones of a bar and of a text beside it.
WIDE, LEAST_BAR, LEAST_TEXT = 40, 8, 16


class Bars(Progress):
    """Bars of a job in a terminal.

    A terminal that becomes narrower wraps the lines that are on it, and rich would clear fewer rows
    than they take then.

    Args:
        console: console to draw on.
    """

    def __init__(self, console: SafeConsole) -> None:
        # Rows that were drawn last, and their width.
        self._drawn = (0, 0)
        self._mending = threading.Lock()
        self._screen = console
        self._cells = (
            SpinnerColumn(finished_text=" "),
            Cell("{task.description}"),
            BarColumn(bar_width=None),
            Cell("{task.fields[percent]}", style="bold", justify="right"),
            Cell("{task.fields[counts]}", most=48),
            Cell("{task.fields[speed]}", style="dim", most=32),
            Cell("{task.fields[left]}", style="cyan"),
        )
        super().__init__(*self._cells, console=console)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield what is drawn."""
        self.mend()
        yield self.make_tasks_table(self.tasks)

    def mend(self) -> None:
        """Clear what the rows take more than before, if the terminal has become narrower.

        To be called before anything is printed.
        """
        with self._mending:
            rows, width = self._drawn
            more = rows * ((width - 1) // self._screen.width)
            if rows and more:
                self._drawn = (0, 0)
                up = ((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
                self._screen.control(Control(*chain.from_iterable(repeat(up, more))))

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return a table with a row for each task."""
        rows = [[column(task) for column in self._cells] for task in tasks if task.visible]
        natural = [max(map(_width, cells), default=0) for cells in zip(*rows, strict=True)]
        widths = fitted(natural, self._screen.width - 1) if rows else []
        shown = [place for place, width in enumerate(widths) if width]
        table = Table.grid(padding=(0, 1))
        for place in shown:
            table.add_column(no_wrap=True, overflow="ellipsis", width=widths[place])
        for cells in rows:
            table.add_row(*(cells[place] for place in shown))
        self._drawn = (min(len(rows), self._screen.height), _sum(widths))
        return table


def fitted(natural: Sequence[int], most: int) -> list[int]:
    """Return the widths of the columns, 0 for those that are left out.

    Args:
        natural: their widths if there is room enough.
        most: width of the terminal.
    """
    widths = list(natural)
    widths[TEXT], widths[BAR] = min(natural[TEXT], LEAST_TEXT), LEAST_BAR
    for place in OPTIONAL:
        if _sum(widths) <= most:
            break
        widths[place] = 0
    room = most - _sum(widths) + widths[TEXT] + LEAST_BAR
    widths[TEXT] = max(min(natural[TEXT], room - max(LEAST_BAR, min(WIDE, room // 3))), 0)
    widths[BAR] = max(1, min(WIDE, room - widths[TEXT]))
    return widths


def _sum(widths: Sequence[int]) -> int:
    """Return the width of columns with a space between any two."""
    shown = [width for width in widths if width]
    return sum(shown) + max(0, len(shown) - 1)


def _width(cell: RenderableType) -> int:
    if isinstance(cell, Text):
        return cell_len(cell.plain)
    return 1 if isinstance(cell, str) or not hasattr(cell, "total") else WIDE
