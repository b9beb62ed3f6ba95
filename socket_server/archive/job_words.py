"""``JobWords``: the words by which one job is found, each written once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from bridge.protocol.snapshot import Snapshot
from socket_server.archive.entries import Entry, texts_in
from socket_server.archive.finding.kept import kept
from socket_server.archive.schema import Row
from socket_server.archive.words import snapshot_words, words_of

__all__ = ["JobWords", "owner_word"]

#: Maximum words of one row, and words of a job that are remembered as written.
MAX_WORDS, MAX_SEEN = 2_000, 5_000


class JobWords:
    """Remembers which words of a job are written."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def rows(self, snapshot: Snapshot, tasks: Iterable[str], entries: list[Entry]) -> list[Row]:
        """Return rows of the words that are new.

        Args:
            snapshot: the job's state.
            tasks: ids of its tasks that have changed.
            entries: what they logged and printed.
        """
        seen = self._seen
        new = list(dict.fromkeys(w for w in _words(snapshot, tasks, entries) if w not in seen))
        seen.update(new)
        if len(seen) > MAX_SEEN:
            seen.clear()  # they may be written again, which costs only space
        job, also = kept(snapshot.job), [owner_word(snapshot.owner)] if snapshot.owner else []
        starts = range(0, len(new), MAX_WORDS)
        return [{"job": job, "words": [*also, *new[at : at + MAX_WORDS]]} for at in starts]


def _words(snapshot: Snapshot, tasks: Iterable[str], entries: list[Entry]) -> Iterator[str]:
    yield from snapshot_words(snapshot, filter(None, map(snapshot.task, tasks)))
    for text in texts_in(entries):
        yield from words_of(text)


def owner_word(owner: str) -> str:
    """Return the word that rows of words of an owner's jobs have, so that an index knows owners.

    Without it, the time of a search would depend on how often a word is in jobs of others.
    """
    return f"owner{sha256(owner.encode(errors='surrogatepass')).hexdigest()[:40]}"
