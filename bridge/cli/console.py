"""Functions through which all commands print.

Printed text comes from tasks, other users, servers and brokers. A terminal obeys escape sequences
in it, so the text is made safe here, where it is printed, and not where it is read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.progress import Task, TextColumn
from rich.segment import Segment
from rich.style import StyleType
from rich.text import Text

from bridge.printable import SafeFormatter, printable

if TYPE_CHECKING:
    from honcho.printer import Printer

__all__ = [
    "Cell",
    "SafeConsole",
    "cell",
    "confirm",
    "echo",
    "echo_json",
    "echo_output",
    "new_console",
    "printer",
    "quiet_logs",
    "safe_errors",
    "shown",
]


def echo(
    text: str, *, lead: str = "", colour: str | None = None, err: bool = False, whole: bool = False
) -> None:
    """Print text and a line end.

    Args:
        text: text, which is made safe; it may have several lines.
        lead: prefix, coloured on a terminal.
        colour: colour of ``lead``.
        err: whether to print to stderr.
        whole: whether long text is printed uncut.
    """
    safe = printable(text, lines=True, **({"most": None} if whole else {}))
    click.echo(click.style(printable(lead), fg=colour) + safe if lead else safe, err=err)


def echo_json(value: object) -> None:
    """Print a value as one line of JSON, without control characters."""
    # ASCII JSON escapes all control characters but DEL.
    click.echo(json.dumps(value).replace("\x7f", "\\u007f"))


def echo_output(output: bytes) -> None:
    """Print a job's output: unchanged, or made safe if stdout is a terminal.

    Args:
        output: one line with its line end, or the beginning of a long line.
    """
    if sys.stdout.isatty():
        click.echo(shown(output))
    else:
        click.echo(output, nl=False)


def shown(output: bytes) -> str:
    """Return a line of a job's output as text that is safe for a terminal."""
    # A terminal would write the text after a carriage return over the text before it.
    line = output.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2]
    # Spaces may be a part of an escape sequence, and tabs may not, so they are replaced at the end.
    return printable(line, lines=True).replace("\t", "    ")


def confirm(question: str) -> bool:
    """Ask a yes-or-no question, on stderr.

    Raises:
        click.Abort: the answer was Ctrl-C, or the input ended.
    """
    return click.confirm(printable(question, lines=True), err=True)


class SafeConsole(Console):
    """rich's console, which makes text safe and keeps rich's own control sequences."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield a renderable's segments; see ``rich.console.Console``."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable() or segment.text == "\n":
                yield segment
            else:
                safe = printable(segment.text, lines=True, most=None)
                yield Segment(safe, segment.style)


def new_console() -> SafeConsole:
    """Return a rich console on stdout, without markup, emoji codes and highlighting."""
    return SafeConsole(markup=False, emoji=False, highlight=False)


def cell(text: str, style: str = "", most: int = 255) -> Text:
    """Return safe text for one line of a table or a bar, of ``most`` characters at most."""
    return Text(printable(text, most=most), style=style)


class Cell(TextColumn):
    """A column of safe text in a progress display, of one line.

    Args:
        text: format with fields of ``task``.
        most: maximum number of characters.
        style: style of the text.
        justify: where shorter texts of the column go.
    """

    def __init__(
        self,
        text: str,
        *,
        most: int = 255,
        style: StyleType = "none",
        justify: JustifyMethod = "left",
    ) -> None:
        super().__init__(text, style, justify, markup=False)
        self._most = most

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        text = super().render(task)
        text.plain = printable(text.plain, most=self._most)
        return text


def printer() -> Printer:
    """Return a honcho printer that makes the lines of its processes safe."""
    from honcho.printer import Message, Printer

    class SafePrinter(Printer):
        def write(self, message: Message) -> None:
            data = message.data
            text = data.decode(errors="replace") if isinstance(data, bytes) else data
            super().write(message._replace(data=printable(text, lines=True, most=None)))

    return SafePrinter(sys.stdout)


@contextlib.contextmanager
def safe_errors() -> Iterator[None]:
    """Make click's error messages safe, which quote settings, ids and servers' answers."""
    try:
        yield
    except click.ClickException as error:
        safe = printable(error.format_message(), lines=True)
        error.format_message = lambda: safe  # type: ignore[method-assign]
        raise


def quiet_logs() -> None:
    """Make libraries' warnings safe, which Python's handler of last resort prints to stderr."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(SafeFormatter(logging.Formatter()))
