"""Console: the commands print through it alone, and what they print is safe."""

from __future__ import annotations

import ast
import io
import json
import sys
from datetime import datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.panel import Panel
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from bridge import Bridge, Settings
from bridge.cli import commands, console, listing
from bridge.errors import TaskbridgeError
from bridge.printable import printable
from bridge.protocol.snapshot import Snapshot
from support.terminal import DRAWING

FOLDER = Path(console.__file__).parent
#: What prints, and so is for console.py alone.
CALLS = {"print", "echo", "secho", "confirm", "prompt", "Console", "Printer", "TextColumn"}
HOSTILE = "x\x1b]52;c;cm0=\x07\x9b2J\x9d0;t\x9c\u202e\u2066[bold][/nothing]\x1b[31my"


def direct_prints(source: str) -> list[str]:
    """Return what a module prints with that is not of ``bridge.cli.console``, as "line: name"."""
    tree = ast.parse(source)
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "bridge.cli.console"
        for alias in node.names
    }
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in ("click", "rich"):
                found += [f"{node.lineno}: {one.name}" for one in node.names if one.name in CALLS]
            case ast.Attribute(value=ast.Name("sys"), attr="stdout" | "__stdout__" | "__stderr__"):
                found.append(f"{node.lineno}: sys.{node.attr}")
            case ast.Attribute(value=ast.Name("click"), attr=name) if name in CALLS:
                found.append(f"{node.lineno}: click.{name}")
            case ast.Call(func=ast.Name(name)) if name in CALLS - ours:
                found.append(f"{node.lineno}: {name}")
            case ast.Call(func=ast.Name("Manager"), args=[]):
                found.append(f"{node.lineno}: Manager without a printer")
    return found


def test_the_commands_print_through_the_console_alone():
    files = [file for file in FOLDER.glob("*.py") if file.name != "console.py"]
    assert len(files) > 8
    assert {file.name: found for file in files if (found := direct_prints(file.read_text()))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "import click\nclick.echo(1)",
        "import click as c\nfrom click import echo\necho(1)",
        "import sys\nsys.stdout.write('x')",
        "from rich.console import Console\nConsole().print(1)",
        "from rich import print\nprint(1)",
        "from rich.progress import TextColumn",
        "from honcho.manager import Manager\nManager()",
    ],
)
def test_another_way_to_print_is_found(source):
    assert direct_prints(source)


def plain(text):
    """Whether nothing in it is obeyed, but what rich draws with."""
    rest = DRAWING.sub("", text)
    return printable(rest, lines=True, most=None) == rest


def drawn(*renderables):
    """Return what a terminal is sent for them."""
    made = console.new_console()
    made.file = io.StringIO()
    made._force_terminal = True
    for one in renderables:
        made.print(one)
    return made.file.getvalue()


def table():
    made = Table("header" + HOSTILE, title=HOSTILE)
    made.add_row(HOSTILE)
    made.add_row(Text(HOSTILE))
    made.add_row(console.cell(HOSTILE, "red"))
    return made


@pytest.mark.parametrize(
    "renderable",
    [
        HOSTILE,
        Text(HOSTILE, style="red"),
        table(),
        Panel(HOSTILE),
        Panel(table(), title="t"),
        [HOSTILE],
    ],
    ids=["text", "styled", "table", "panel", "nested", "list"],
)
def test_whatever_rich_draws_is_safe(renderable):
    text = drawn(renderable)
    assert plain(text)
    assert "[bold]" in text  # markup is text


def test_bars_are_safe():
    made = console.new_console()
    made.file = io.StringIO()
    made._force_terminal = True
    progress = Progress(
        console.Cell("{task.description}"), console.Cell("{task.fields[x]}"), console=made
    )
    with progress:
        progress.add_task(HOSTILE + "\nforged", x=HOSTILE * 100)
        progress.print(HOSTILE)
    assert plain(made.file.getvalue())
    assert "\nforged" not in made.file.getvalue()


@pytest.mark.parametrize("error", [False, True])
def test_what_is_echoed_is_safe_and_only_our_own_lead_has_a_colour(capsys, error):
    console.echo(HOSTILE + "\nmore", lead="ok" + HOSTILE, colour="green", err=error)
    told = capsys.readouterr()
    assert plain(told.err if error else told.out)


def test_json_is_exact_and_has_no_control_character(capsys):
    value = {"a": HOSTILE + "\x7f\u2028" + "".join(map(chr, range(32)))}
    console.echo_json(value)
    line = capsys.readouterr().out.removesuffix("\n")
    assert printable(line) == line
    assert json.loads(line) == value


def test_output_that_is_piped_is_exact_and_on_a_terminal_it_is_safe(capfdbinary, monkeypatch):
    written = bytes(range(256)) + HOSTILE.encode() + b"\r\n"
    console.echo_output(written)
    assert capfdbinary.readouterr().out == written
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    console.echo_output(written)
    assert plain(capfdbinary.readouterr().out.decode())


@pytest.mark.parametrize(
    "arguments",
    [
        [HOSTILE],
        ["--" + HOSTILE],
        ["watch", HOSTILE],
        ["watch", "\udcff"],
        ["jobs", "--owner", HOSTILE],
        ["jobs", "--owner", "me", "--limit", HOSTILE],
        ["jobs", "--owner", "me", "--" + HOSTILE],
        ["enqueue", HOSTILE],
        ["enqueue", "t", "--args", HOSTILE],
        ["token", "--owner", "me", "--scope", HOSTILE],
        ["cancel", HOSTILE],
    ],
    ids=ascii,
)
def test_what_a_command_says_of_its_arguments_is_safe(arguments, tmp_path):
    environ = {"TASKBRIDGE_HOME": str(tmp_path), "TASKBRIDGE_SECRET": "s" * 32}
    done = CliRunner().invoke(commands.cli, arguments, env=environ)
    assert done.exit_code in (1, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert plain(done.output)


@pytest.mark.parametrize("error", [TaskbridgeError(HOSTILE), click.UsageError(HOSTILE)])
def test_what_a_server_answers_is_safe_in_an_error(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(commands, "Bridge", fail)
    done = CliRunner().invoke(commands.cli, ["watch", "job"])
    assert done.exit_code in (1, 2)
    assert plain(done.output)


def test_a_wrong_setting_is_quoted_safely():
    for name, value in ((HOSTILE.replace("=", ""), "1"), ("URL", HOSTILE), ("PORT", HOSTILE)):
        done = CliRunner().invoke(commands.cli, ["watch", "j"], env={f"TASKBRIDGE_{name}": value})
        assert done.exit_code in (1, 2)
        assert plain(done.output)


def test_lines_of_processes_that_are_run_are_safe(monkeypatch):
    from honcho.printer import Message

    monkeypatch.setattr(sys, "stdout", io.StringIO())
    printer = console.printer()
    for data in (HOSTILE, HOSTILE.encode() + b"\xff", f"{HOSTILE}\n{HOSTILE}"):
        printer.write(Message("line", data, datetime.now(), "worker.1", None))
    assert plain(sys.stdout.getvalue())
    assert len(sys.stdout.getvalue().splitlines()) == 4


def test_a_job_of_which_everything_is_hostile_is_listed(capsys, monkeypatch):
    job = {**Snapshot(HOSTILE).encode(), "name": HOSTILE, "state": HOSTILE, "at": 0.0}
    bar = {"desc": HOSTILE, "unit": HOSTILE, "postfix": HOSTILE, "total": 2, "n": 1, "position": 0}
    monkeypatch.setattr(listing, "request", lambda *_: {"jobs": [{**job, "bars": [bar]}]})
    bridge = Bridge(settings=Settings(secret=("s" * 32,)))
    for as_json in (False, True):
        listing.show(bridge, "me", {}, limit=1, as_json=as_json)
        assert plain(capsys.readouterr().out)
