"""Checks identifiers: owners, ids of jobs and names of tasks."""

from __future__ import annotations

import re
import uuid
from typing import Any

from bridge.errors import TaskbridgeError

__all__ = ["MAX_CHARACTERS", "check_identifier", "flaw", "is_encodable"]

#: Maximum characters of an identifier.
MAX_CHARACTERS = 255
#: Control characters, which can forge lines of a log and which databases refuse, and halves of
#: surrogate pairs, which UTF-8 cannot express.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def flaw(value: Any, most: int = MAX_CHARACTERS) -> str | None:
    """Return why a value is no identifier, as the end of a sentence; None if it is one."""
    if not isinstance(value, str):
        return f"must be a string of 1 to {most} characters, not {type(value).__name__}"
    if not 0 < len(value) <= most:
        return f"must be a string of 1 to {most} characters: it has {len(value)}"
    if _FORBIDDEN.search(value):
        return "must be without control characters and without halves of surrogate pairs"
    return None


def is_encodable(value: str) -> bool:
    """Whether a string can be expressed in UTF-8: one with half of a surrogate pair cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_identifier(value: Any, what: str, error: type[TaskbridgeError]) -> None:
    """Raise an error if a value is no identifier.

    Args:
        value: value to check, of any type.
        what: what the message calls it, ``an owner`` for example.
        error: class of the error.
    """
    if (reason := flaw(value)) is not None:
        # Such as a database's primary key. A string comes back, in snapshots for example, and would
        # not equal the number.
        is_key = isinstance(value, int | uuid.UUID) and not isinstance(value, bool)
        raise error(f"{what} {reason}{': pass str(...) of it' if is_key else ''}")
