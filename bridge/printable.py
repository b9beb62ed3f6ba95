"""Makes untrusted text safe for terminals and logs."""

from __future__ import annotations

import copy
import logging
import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby

__all__ = ["MAX_CHARACTERS", "SafeFormatter", "printable", "safe_record"]

#: Default maximum of characters of a text: more than the longest log line of a task has.
MAX_CHARACTERS = 10_000
#: Maximum characters of the message of a log record; of its traceback and stack, as many each.
MAX_RECORD = 50_000
#: Maximum combining marks on one letter; scripts need up to six, and more cover adjacent lines.
MAX_MARKS = 8
#: Indentation of all lines of a record but its first.
INDENT = "    "

#: Celery's logger of tasks' stdout and stderr.
PRINTED = "celery.redirected"

#: Escape sequences (ECMA-48), in their 7-bit and 8-bit forms. The content of a string sequence also
#: ends at the next introducer, so that a text is scanned once.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[P\]X^_]|[\x90\x98\x9d-\x9f])"  # DCS, OSC, SOS, PM, APC: clipboard, title, links
    r"[^\x07\x18\x1a\x1b\x90\x98\x9b-\x9f]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"  # single functions, and introducers of what has no end
)
_SPACES = frozenset("\n\r\t\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029")
#: Unicode categories that are removed: controls, format characters (bidirectional overrides and
#: isolates, zero-width characters, tags), halves of surrogate pairs, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: Zero-width characters, most of which are not assigned yet.
_TAGS = range(0xE0000, 0xE1000)


def printable(text: str, *, lines: bool = False, most: int | None = MAX_CHARACTERS) -> str:
    """Return text that changes nothing of a terminal but the cells that it is written to.

    Escape sequences, control and format characters are removed, line ends and tabs become spaces,
    marks beyond eight on one letter are dropped, and a text that is too long is cut, with an
    ellipsis. Markup stays: no output of taskbridge interprets any.

    Args:
        text: any text.
        lines: whether ``\\n`` and ``\\t`` are kept; default False.
        most: maximum characters to keep; None for no limit.
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
    """Return a copy of a log record whose text can forge no other record and no escape sequence.

    All lines but the first are indented.
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
    """Makes records safe (see :func:`safe_record`) and passes them on to another formatter.

    Records of Celery's that carry what tasks print are passed on unchanged.

    Args:
        inner: the other formatter.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        own = record.name == PRINTED
        return self._inner.format(record if own else safe_record(record))
