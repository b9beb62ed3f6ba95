"""Checks of the paths that jobs get, and their form for people."""

from __future__ import annotations

import contextlib
import os
from pathlib import PurePath

from bridge.errors import InputError
from bridge.settings import Settings
from workers.files.tree import Identity, identity

__all__ = ["encodable", "not_a_path", "of_home", "shown"]


def of_home(settings: Settings) -> frozenset[Identity]:
    """Return what no job may reach under any name: TASKBRIDGE_HOME and its direct entries.

    The entries too, since the key, the results or the broker's folder may have other names.
    """
    found = set()
    with contextlib.suppress(OSError):
        for path in (settings.home, *settings.home.iterdir()):
            with contextlib.suppress(OSError):
                found.add(identity(path.stat()))
    return frozenset(found)


def shown(path: PurePath | str) -> str:
    """Return a path as printable text of one line, in which other characters are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def encodable(path: object) -> bool:
    """Whether a value is a text that can be encoded as a path of the file system."""
    if not isinstance(path, str) or not path or "\0" in path:
        return False
    try:
        return bool(os.fsencode(path))
    except UnicodeEncodeError:
        return False


def not_a_path() -> InputError:
    """Return the error for a value that is not a path."""
    return InputError(
        "A path must be text that is not empty, and that a file's name can be made of: change it."
    )
