"""What version 0.1.0 offered is there: names, errors, settings, commands, exit codes, the wire."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest import mock

import click
import pytest
from click.testing import CliRunner

import bridge
import support
from bridge import tokens
from bridge.cli import commands
from bridge.protocol import event
from bridge.protocol.snapshot import Snapshot
from bridge.settings import reference

RECORDED = json.loads(
    Path(support.__file__).with_name("recorded").joinpath("public-0.1.0.json").read_text()
)
# Raised in tasks alone, where it is no error of a command, and no `Exception` any more.
del RECORDED["exits"]["errors"]["JobCancelled"]
# Without an owner it lists the jobs of all, which was a usage error.
del RECORDED["exits"]["lines"]["jobs"]


def parameters(thing: Any) -> list[str] | None:
    """Return the names of what a function or a class takes; None for what says no such names."""
    try:
        return list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return None


def options(command: click.Command) -> dict[str, Any]:
    """Return what a command takes, and the commands below it."""
    found: dict[str, Any] = {
        "options": sorted(
            text for one in command.params if isinstance(one, click.Option) for text in one.opts
        ),
        "arguments": [one.name for one in command.params if isinstance(one, click.Argument)],
    }
    if isinstance(command, click.Group):
        found["commands"] = {name: options(one) for name, one in command.commands.items()}
    return found


def missing(before: Any, now: Any, place: str) -> list[str]:
    """Return what was there before and is not there now, or is another."""
    if isinstance(before, dict):
        pairs = [(value, now.get(key), f"{place}.{key}") for key, value in before.items()]
        return [line for pair in pairs for line in missing(*pair)]
    if isinstance(before, list):
        return [f"{place}: {one}" for one in before if one not in (now or [])]
    return [] if before == now else [f"{place}: {before} is {now}"]


class Ended:
    """A bridge whose jobs have ended in a state; or Ctrl-C comes while one is watched."""

    recovered, cursor = True, None

    def __init__(self, state: str) -> None:
        self._state = state
        self.snapshot = Snapshot.decode({**Snapshot("j").encode(), "state": state})

    def watch(self, *_: object, **__: object) -> Ended:
        """Return the watcher of a job."""
        return self

    def __iter__(self) -> Iterator[Any]:
        if self._state == "interrupted":
            raise KeyboardInterrupt
        return iter(())


def exit_code(group: click.Command, line: str) -> int:
    """Return the exit code of a command line without the word ``taskbridge``."""
    with TemporaryDirectory() as home:
        environ = {"TASKBRIDGE_SECRET": "k" * 40, "TASKBRIDGE_HOME": home}
        return CliRunner().invoke(group, shlex.split(line), env=environ).exit_code


def exit_code_of_error(name: str) -> int:
    """Return the exit code of a command that ends with an error of this name."""
    kind = getattr(bridge.errors, name, KeyboardInterrupt)
    fail = mock.Mock(side_effect=kind.__new__(kind))
    return exit_code(commands.Group("t", {"fail": click.Command("fail", callback=fail)}), "fail")


def exit_code_of_watch(state: str) -> int:
    """Return the exit code of ``watch`` for a job that ends in a state."""
    with mock.patch.object(commands, "Bridge", return_value=Ended(state)):
        return exit_code(commands.cli, "watch j --json")


def exit_code_of_stack(process: str) -> int:
    """Return the exit code of ``up`` when one of its processes ends with a code."""
    from bridge.cli import stack

    manager = SimpleNamespace(
        add_process=mock.Mock(), loop=mock.Mock(), returncode=json.loads(process)
    )
    with (
        mock.patch("honcho.manager.Manager", return_value=manager),
        mock.patch.multiple(stack, _note=mock.Mock(), _ports=lambda *_: [8000]),
    ):
        return exit_code(commands.cli, "up --no-flower")


EXIT_CODES = {
    "errors": exit_code_of_error,
    "lines": lambda line: exit_code(commands.cli, line),
    "watched": exit_code_of_watch,
    "stack": exit_code_of_stack,
}


def public_now() -> dict[str, Any]:
    """Return the same of this version as was recorded."""
    group = next(one for one in vars(commands).values() if isinstance(one, click.Group))
    return {
        "names": {name: parameters(getattr(bridge, name)) for name in RECORDED["names"]},
        "methods": {name: dir(getattr(bridge, name)) for name in RECORDED["methods"]},
        "errors": [name for name in dir(bridge.errors) if hasattr(bridge, name)],
        "settings": {one.variable: one.default for one in reference.settings()},
        "commands": options(group),
        "wire": {
            "types": sorted(event.TYPES),
            "version": event.VERSION,
            "namespace": event.NAMESPACE,
            "scopes": sorted(tokens.SCOPES),
        },
        "exits": {
            part: {case: EXIT_CODES[part](case) for case in cases}
            for part, cases in RECORDED["exits"].items()
        },
    }


@pytest.mark.parametrize("part", sorted(RECORDED))
def test_what_was_public_is_public(part):
    assert missing(RECORDED[part], public_now()[part], part) == []


def test_every_public_name_is_there_and_documented():
    for name in bridge.__all__:
        assert getattr(bridge, name) is not None
    for name in RECORDED["errors"]:
        assert getattr(bridge, name).__doc__


def test_what_is_missing_is_found():
    assert missing({"a": ["b"]}, {"a": []}, "x") == ["x.a: b"]
    assert missing({"a": 1}, {}, "x") == ["x.a: 1 is None"]
