"""Paths as jobs are given them and as people see them; what is read and written is elsewhere."""

from __future__ import annotations

import contextlib
import os
from pathlib import PurePath

from bridge.errors import InputError
from bridge.settings import Settings
from workers.files.tree import Identity, identity

__all__ = ["encodable", "not_a_path", "of_home", "shown"]


def of_home(settings: Settings) -> frozenset[Identity]:
    """Return what no job may reach under any name: TASKBRIDGE_HOME and what is directly in it.

    The latter since there may be other links to the key, the results or the broker's folder.
    """
    found = set()
    with contextlib.suppress(OSError):
        for path in (settings.home, *settings.home.iterdir()):
            with contextlib.suppress(OSError):
                found.add(identity(path.stat()))
    return frozenset(found)


def shown(path: PurePath | str) -> str:
    """Return a path as a line of text that can be sent and stored, whatever is in the name."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def encodable(path: object) -> bool:
    """Whether a value is text that the file system can be asked for."""
    if not isinstance(path, str) or not path or "\0" in path:
        return False
    try:
        return bool(os.fsencode(path))
    except UnicodeEncodeError:
        return False


def not_a_path() -> InputError:
    """Return the error of a value that is no path."""
    return InputError(
        "A path must be text that is not empty, and that a file's name can be made of: change it."
    )
