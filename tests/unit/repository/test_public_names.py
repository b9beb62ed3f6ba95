"""Whatever version 0.1.0 offered is there: names, methods, errors, settings, commands, the wire."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import click
import pytest

import bridge
import support
from bridge import tokens
from bridge.cli import commands
from bridge.protocol import event
from bridge.settings import reference

RECORDED = json.loads(
    Path(support.__file__).with_name("recorded").joinpath("public-0.1.0.json").read_text()
)


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
