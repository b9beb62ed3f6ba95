"""``LiveView``: draws the bars of a job in a terminal, with rich."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import TypedDict

from rich.cells import cell_len
from rich.console import RenderableType
from rich.control import Control
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TaskID
from rich.progress_bar import ProgressBar
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from bridge.cli.console import Cell, SafeConsole, cell, shown
from bridge.cli.format import (
    WIDE,
    counts,
    duration,
    fitted,
    percent,
    saved,
    speed,
    total_of,
    width_of,
)
from bridge.cli.lines import Lines
from bridge.cli.views.steps import Row, step_rows
from bridge.printable import MAX_CHARACTERS
from bridge.protocol.json_types import BarData, JobEvent, StepData
from bridge.protocol.snapshot import Snapshot

__all__ = ["Bars", "LiveView"]

#: Depth beyond which rows are not indented further.
MAX_DEPTH = 4


class BarCell(BarColumn):
    """A column of bars, which is empty beside a step."""

    def render(self, task: Task) -> ProgressBar | Text:  # type: ignore[override]
        """Return the column's bar, or an empty text."""
        return Text("") if task.fields.get("plain") else super().render(task)


class Since:
    """The time since a moment, as text; a row that has it is up to date whenever it is drawn.

    Args:
        at: seconds since the epoch.
    """

    def __init__(self, at: float) -> None:
        self._at = at

    def __str__(self) -> str:
        return duration(time.time() - self._at)


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
            BarCell(bar_width=None),
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
        self._drawn = (min(len(rows), self._screen.height), width_of(widths))
        return table


def _width(cell: RenderableType) -> int:
    if isinstance(cell, Text):
        return cell_len(cell.plain)
    return 1 if isinstance(cell, str) or not hasattr(cell, "total") else WIDE


class Fields(TypedDict):
    """Texts beside a bar."""

    percent: str
    counts: str
    speed: str
    left: str | Since
    #: Whether no bar is drawn.
    plain: bool


class LiveView:
    """Nested bars at the bottom of the terminal, log lines above them.

    Args:
        console: console to draw on.
        waits: returns what a job waits for; empty if unknown.
        ending: returns the sentence at a job's end, and its colour.
    """

    def __init__(
        self,
        console: SafeConsole,
        waits: Callable[[Snapshot], str],
        ending: Callable[[Snapshot], tuple[str, str]],
    ) -> None:
        self._console = console
        self._lines = Lines()
        self._waits = waits
        self._ending = ending
        self._rows: list[TaskID] = []
        self._title: str | None = None
        self._progress = Bars(console)
        self._progress.start()

    def show(self, event: JobEvent, snapshot: Snapshot) -> None:
        """Draw the state after an event."""
        if snapshot.title and self._title is None:
            self._title = snapshot.title
            self._put(cell(self._title, "bold"))
        self._print(self._lines.of(event))
        stored = saved(snapshot.saved)
        rows = step_rows(snapshot) or _note(self._waits(snapshot) or stored)
        while len(self._rows) < len(rows):
            self._rows.append(self._progress.add_task("", total=None, **_fields(None)))
        for number, row in enumerate(self._rows):
            told = rows[number] if number < len(rows) else None
            self._draw(row, told, "" if number else stored)

    def _print(self, lines: Sequence[str | bytes]) -> None:
        for line in lines:
            self._put(shown(line) if isinstance(line, bytes) else line)

    def _put(self, line: str | Text) -> None:
        self._progress.mend()
        self._console.print(line)

    def _draw(self, row: TaskID, told: Row | None, stored: str) -> None:
        if told is None:
            self._progress.update(row, visible=False)
            return
        indent = "  " * min(told.depth, MAX_DEPTH)
        if told.step is not None:
            self._draw_step(row, indent, told.step, stored)
        elif told.bar is not None:
            self._draw_bar(row, indent, told.bar, stored)
        else:
            note = _fields(None)
            self._progress.update(
                row, visible=True, description=told.note, completed=0, total=None, **note
            )

    def _draw_bar(self, row: TaskID, indent: str, bar: BarData, stored: str) -> None:
        postfix = f" {bar['postfix']}" if bar["postfix"] else ""
        done, total = bar["n"], total_of(bar)
        if total is None and bar["closed"]:
            done = total = max(done, 1)  # rich would draw a bar of unknown length that never stops
        self._progress.update(
            row,
            visible=True,
            description=f"{indent}{bar['desc'] or 'progress'}{postfix}",
            completed=done,
            total=total,
            **_fields(bar, stored),
        )

    def _draw_step(self, row: TaskID, indent: str, step: StepData, stored: str) -> None:
        began, ended_at = step["started_at"], step["ended_at"]
        left = Since(began) if ended_at is None else duration(ended_at - began)
        fields: Fields = {
            "percent": "",
            "counts": step["state"],
            "speed": stored,
            "left": left,
            "plain": True,
        }
        total = None if step["state"] == "running" else 1
        name = f"{indent}{step['name'] or 'step'}"
        self._progress.update(
            row, visible=True, description=name, completed=total or 0, total=total, **fields
        )

    def pause(self) -> None:
        """Stop drawing; the bars stay as they are."""
        self._print(self._lines.rest())
        for task in self._progress.tasks:
            _settle(self._progress, task)
        self._progress.stop()

    def close(self, snapshot: Snapshot) -> None:
        """Stop drawing, and print how the job ended."""
        self.pause()
        text, colour = self._ending(snapshot)
        self._console.print(cell(text, colour, most=MAX_CHARACTERS))


def _settle(progress: Progress, task: Task) -> None:
    # A bar of unknown length would pulse for ever.
    if task.total is None:
        progress.update(task.id, total=max(task.completed, 1), completed=max(task.completed, 1))


def _note(text: str) -> list[Row]:
    """Return what the job waits for in place of its bars; none for no text."""
    return [Row(note=text)] if text else []


def _fields(bar: BarData | None, stored: str = "") -> Fields:
    if bar is None:
        return {"percent": "", "counts": "", "speed": "", "left": "", "plain": False}
    done = percent(bar)
    left = duration(bar["elapsed"]) if bar["closed"] else _left(bar)
    return {
        "percent": "" if done is None else f"{done} %",
        "counts": counts(bar),
        "speed": speed(bar),
        "left": ", ".join(filter(None, (left, stored))),
        "plain": False,
    }


def _left(bar: BarData) -> str:
    return "" if bar["eta"] is None else f"{duration(bar['eta'])} left"
