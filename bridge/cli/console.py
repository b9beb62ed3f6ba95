"""All that the commands print: nothing in this folder prints in another way.

What is printed comes from tasks, other people, servers and brokers. A terminal obeys escape
sequences in it, so it is made safe here, where it is printed, and not where it is read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import Task, TextColumn
from rich.segment import Segment
from rich.text import Text

from bridge.printable import SafeFormatter, printable

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
    """Print text, and the end of its line.

    Args:
        text: made safe; it may have several lines.
        lead: what comes before it, in a colour on a terminal.
        colour: of that.
        err: to stderr.
        whole: however long it is.
    """
    safe = printable(text, lines=True, **({"most": None} if whole else {}))
    click.echo(click.style(printable(lead), fg=colour) + safe if lead else safe, err=err)


def echo_json(value: Any) -> None:
    """Print a value as one line of JSON, which has no control character in it."""
    # JSON in ASCII escapes all of them but one.
    click.echo(json.dumps(value).replace("\x7f", "\\u007f"))


def echo_output(output: bytes) -> None:
    """Print what a job wrote: as it is, unless a terminal would obey it.

    Args:
        output: one line with its end, or the beginning of a long one.
    """
    if sys.stdout.isatty():
        click.echo(shown(output))
    else:
        click.echo(output, nl=False)


def shown(output: bytes) -> str:
    """Return a line that a job wrote as a terminal may show it."""
    # After a carriage return, a terminal writes over the line.
    line = output.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2]
    return printable(line.replace("\t", "    "))


def confirm(question: str) -> bool:
    """Ask a person at the terminal, on stderr.

    Raises:
        click.Abort: the answer was Ctrl-C.
    """
    return click.confirm(printable(question, lines=True), err=True)


class SafeConsole(Console):
    """rich's console; what it draws by itself stays, and the text in it is made safe."""

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
    """Return a console of rich's, on stdout, that reads no markup."""
    return SafeConsole(markup=False, emoji=False, highlight=False)


def cell(text: str, style: str = "", most: int = 255) -> Text:
    """Return text for one line of a table or a bar."""
    return Text(printable(text, most=most), style=style)


class Cell(TextColumn):
    """A column of bars, of one line.

    Args:
        text: with fields of ``task``.
        most: characters at most.
        options: of rich's ``TextColumn``.
    """

    def __init__(self, text: str, *, most: int = 255, **options: Any) -> None:
        super().__init__(text, markup=False, **options)
        self._most = most

    def render(self, task: Task) -> Text:
        """Return the column's text."""
        text = super().render(task)
        text.plain = printable(text.plain, most=self._most)
        return text


def printer() -> Any:
    """Return what prints the lines of processes that honcho runs."""
    from honcho.printer import Message, Printer

    class SafePrinter(Printer):
        def write(self, message: Message) -> None:
            data = message.data
            text = data.decode(errors="replace") if isinstance(data, bytes) else data
            super().write(message._replace(data=printable(text, lines=True, most=None)))

    return SafePrinter(sys.stdout)


@contextlib.contextmanager
def safe_errors() -> Iterator[None]:
    """Make safe what click prints of an error, which quotes settings, ids and answers."""
    try:
        yield
    except click.ClickException as error:
        safe = printable(error.format_message(), lines=True)
        error.format_message = lambda: safe  # type: ignore[method-assign]
        raise


def quiet_logs() -> None:
    """Make warnings of libraries safe, which Python prints to stderr."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(SafeFormatter(logging.Formatter()))
