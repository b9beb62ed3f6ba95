"""What an owner, a job's id and a task's name may be: one rule for all that sign, ask or answer."""

from __future__ import annotations

import re
from typing import Any

from bridge.errors import TaskbridgeError

__all__ = ["MAX_CHARACTERS", "check_identifier", "flaw", "is_encodable"]

#: Characters of an identifier at most.
MAX_CHARACTERS = 255
#: Control characters, which forge lines and which databases refuse, and halves of surrogate pairs,
#: which UTF-8 cannot express.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def flaw(value: Any, most: int = MAX_CHARACTERS) -> str | None:
    """Return the end of the sentence that says why a value is no identifier; None if it is one."""
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
    """Return if a value can be an identifier.

    Args:
        value: whatever a caller gave.
        what: names it in the message, ``an owner`` for example.
        error: is raised if it cannot.
    """
    if (reason := flaw(value)) is not None:
        raise error(f"{what} {reason}")
