"""Words by which jobs are found: the same in the archive, in queries, and in live jobs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["MAX_WORD", "words_of"]

#: Maximum characters of a word that are kept; a longer one is found by its beginning.
MAX_WORD = 64
#: Letters and digits; an underscore separates, so that `timeout` finds `timeout_ms`.
WORD = re.compile(r"[^\W_]+")


def words_of(value: object) -> Iterator[str]:
    """Yield the words, in lower case, of a text, or of all texts and numbers in a JSON value."""
    if isinstance(value, str):
        for word in WORD.findall(value.lower()):
            yield word[:MAX_WORD]
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from words_of(name)
            yield from words_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from words_of(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from words_of(str(value))
