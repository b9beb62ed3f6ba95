"""Describes all settings with their defaults and meanings, read from the source of ``Settings``."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import NamedTuple

from bridge.settings import PREFIX, Settings

__all__ = ["Described", "as_markdown", "settings"]

#: Matches the definition of a setting in the source of :class:`bridge.settings.Settings`.
FIELD = re.compile(r"    (\w+): .* = _setting\(")


class Described(NamedTuple):
    """Description of one setting."""

    variable: str
    default: str
    meaning: str


def settings() -> list[Described]:
    """Return all settings, in the order of their definition.

    The meaning is the ``#:`` comment before a setting; one without it shares the previous one's.
    """
    meanings = _meanings()
    return [
        Described(f"{PREFIX}{one.name.upper()}", _shown(one.default), meanings[one.name])
        for one in fields(Settings)
    ]


def _meanings() -> dict[str, str]:
    found: dict[str, str] = {}
    comment: list[str] = []
    for line in inspect.getsource(Settings).splitlines():
        if line.startswith("    #: "):
            comment.append(line[7:])
        elif match := FIELD.match(line):
            text = " ".join(comment).replace("``", "`")
            found[match[1]] = text or found[list(found)[-1]]
            comment = []
    return found


def _shown(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def as_markdown() -> str:
    """Return all settings as a Markdown table."""
    rows = [
        f"| `{one.variable}` | {f'`{one.default}`' if one.default else ''} | {one.meaning} |"
        for one in settings()
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])
