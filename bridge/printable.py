"""Text of others, made safe for a terminal and for a log: the one function for both."""

from __future__ import annotations

import copy
import logging
import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby

__all__ = ["MAX_CHARACTERS", "SafeFormatter", "printable", "safe_record"]

#: Characters of one text at most: all of the longest line of a log.
MAX_CHARACTERS = 10_000
#: Characters of one record of a log at most, its traceback apart.
MAX_RECORD = 50_000
#: Marks on one letter at most; scripts need up to six, and more of them cover the lines around.
MAX_MARKS = 8
#: What a line begins with that does not begin a record.
INDENT = "    "

#: Celery's logger of what tasks print.
PRINTED = "celery.redirected"

#: Escape sequences (ECMA-48), in their forms of seven and of eight bits. What a string sequence
#: carries ends at the next introducer too, so that a text is looked through once.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[P\]X^_]|[\x90\x98\x9d-\x9f])"  # DCS, OSC, SOS, PM, APC: clipboard, title, links
    r"[^\x07\x18\x1a\x1b\x90\x98\x9b-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"  # single functions, and introducers of what has no end
)
_SPACES = frozenset("\n\r\t\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029")
#: Controls, format characters (bidirectional overrides and isolates, those of no width, tags), and
#: halves of surrogate pairs.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: Characters of no width, most of which are not assigned yet.
_TAGS = range(0xE0000, 0xE1000)


def printable(text: str, *, lines: bool = False, most: int | None = MAX_CHARACTERS) -> str:
    """Return text that changes nothing of a terminal but the cells that it is written to.

    Escape sequences, control and format characters are removed, line ends and tabs become spaces,
    marks beyond eight on one letter are dropped, and what is too long is cut, with an ellipsis.
    Markup is no business of it: nothing that prints here reads any.

    Args:
        text: anything.
        lines: whether ``\\n`` and ``\\t`` stay.
        most: characters to keep; None for all of them.
    """
    kept = text if most is None else text[: 4 * most]
    if lines:
        kept = kept.replace("\r\n", "\n")
    if not kept.isprintable():
        kept = _SEQUENCES.sub("", kept)
        kept = "".join(_visible(kept, "\n\t" if lines else ""))
    if not kept.isascii():
        kept = _with_few_marks(kept)
    if most is not None and (len(kept) > most or len(text) > 4 * most):
        kept = kept[: most - 1] + "…"
    return kept


def _visible(text: str, spared: str) -> Iterator[str]:
    for character in text:
        if character in spared or character.isprintable():
            yield character
        elif character in _SPACES:
            yield " "
        elif unicodedata.category(character) not in _HIDDEN and ord(character) not in _TAGS:
            yield character


def _with_few_marks(text: str) -> str:
    runs = groupby(text, lambda character: unicodedata.category(character)[0] == "M")
    return "".join("".join(run)[: MAX_MARKS if marks else None] for marks, run in runs)


def safe_record(record: logging.LogRecord) -> logging.LogRecord:
    """Return a copy of a log's record of which no text forges another record, or an escape.

    Only its first line begins at the margin.
    """
    safe = copy.copy(record)
    safe.msg, safe.args = _indented(record.getMessage()), ()
    if record.exc_info and not record.exc_text:
        safe.exc_text = logging.Formatter().formatException(record.exc_info)
    safe.exc_info = None
    for name in ("exc_text", "stack_info"):
        if text := getattr(safe, name):
            setattr(safe, name, INDENT + _indented(text))
    return safe


def _indented(text: str) -> str:
    return printable(text, lines=True, most=MAX_RECORD).replace("\n", "\n" + INDENT)


class SafeFormatter(logging.Formatter):
    """Another formatter, given only records that are safe; see :func:`safe_record`.

    What a task prints, which Celery turns into records, is its own business.

    Args:
        inner: that formatter.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        own = record.name == PRINTED
        return self._inner.format(record if own else safe_record(record))
