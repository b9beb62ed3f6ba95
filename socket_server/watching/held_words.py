"""``HeldWords``: looks for words in what the journal holds of jobs, and counts what that costs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator

from bridge.protocol.snapshot import Snapshot
from socket_server.archive.words import MAX_WORD, snapshot_words, task_words, words_of
from socket_server.journal.journal import Journal
from socket_server.journal.page import LOOK

__all__ = ["HeldWords"]

#: Characters of events that are searched, and not decoded, at the cost of one that is decoded.
CHEAP = 64
#: Characters, as JSON in lower case, that have a letter of ASCII in lower case.
ODD = ("\\u0130", "\\u212a")


class HeldWords:
    """Looks for words in jobs that the journal holds.

    Args:
        journal: the jobs that the server holds.
        words: what is looked for, as ``words_of`` yields it.
        step: called between small steps of the work; other clients may be served meanwhile.
    """

    def __init__(self, journal: Journal, words: Iterable[str], step: Callable[[], None]) -> None:
        self._journal, self._step = journal, step
        self._patterns = {word: _pattern(word) for word in words}
        #: Bytes that a request is charged for what was read.
        self.cost = 0

    def are_in(self, snapshot: Snapshot) -> bool:
        """Whether a job has all words, in its snapshot or in the lines that the journal holds."""
        left = set(self._patterns)
        for words in self._words_of(snapshot, left) if left else ():
            left.difference_update(words)
            if not left:
                break
            self._step()
        return not left

    def _words_of(self, snapshot: Snapshot, left: set[str]) -> Iterator[Iterable[str]]:
        """Yield the words of a job, bit by bit, but for those of events that have none of some."""
        yield snapshot_words(snapshot, ())
        for task in list(snapshot.tasks()):
            self.cost += LOOK
            yield task_words(task)
        for event in self._journal.texts(snapshot.job):
            # Without the cursor, which depends on how many events of others there are.
            told = event[: event.rindex('"cursor"')].lower()
            self.cost += len(told) // CHEAP
            if self._may_have(told, left):
                self.cost += len(told)
                yield from map(words_of, _lines(event))
            else:
                yield ()

    def _may_have(self, event: str, words: set[str]) -> bool:
        """Whether one of some words may be in an event, as JSON in lower case."""
        return any(odd in event for odd in ODD) or any(self._is_in(event, word) for word in words)

    def _is_in(self, event: str, word: str) -> bool:
        if (pattern := self._patterns[word]) is None:
            return "\\u" in event
        return word in event and pattern.search(event) is not None


def _pattern(word: str) -> re.Pattern[str] | None:
    """Return what finds a word in JSON in lower case; None if it has characters that are escaped.

    It is found between characters that are no letters or digits of ASCII, or behind an escape.
    """
    if not word.isascii():
        return None
    end = "" if len(word) == MAX_WORD else "(?![a-z0-9])"  # a longer word is found by its beginning
    before = rf"(?<![a-z0-9]{word})", rf"(?<=\\[bfnrt]{word})", rf"(?<=\\u[0-9a-f]{{4}}{word})"
    return re.compile(f"{word}{end}(?:{'|'.join(before)})")


def _lines(event: str) -> Iterator[str]:
    """Yield the lines in an event, as JSON."""
    data = json.loads(event)["data"]
    yield from (line["message"] for line in data.get("lines", ()))
    yield from (chunk for chunk in data.get("chunks", ()) if isinstance(chunk, str))
