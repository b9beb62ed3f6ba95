"""``kept``: texts as the archive's database keeps them, and back. Without a database's library.

PostgreSQL takes neither NUL nor lone surrogates.
"""

from __future__ import annotations

import re

__all__ = ["kept", "unkept"]

#: What ``kept`` writes in place of a character.
ESCAPED = re.compile(r"\\(?:\\|0|u[0-9a-f]{4})")


def kept(text: str) -> str:
    """Return a text that any database takes, and that no other text is written as."""
    if text.isascii() and "\0" not in text and "\\" not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace("\0", "\\0")
    return escaped.encode("utf-8", "backslashreplace").decode()


def unkept(text: str) -> str:
    """Return the text that ``kept`` has written as this one."""
    return ESCAPED.sub(_character, text) if "\\" in text else text


def _character(found: re.Match[str]) -> str:
    kind, code = found[0][1], found[0][2:]
    if kind == "u":
        return chr(int(code, 16))
    return "\0" if kind == "0" else kind
