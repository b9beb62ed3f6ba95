"""Words by which jobs are found: the same in the archive, in queries, and in live jobs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import cast

from bridge.protocol.snapshot import Snapshot
from bridge.protocol.task_state import TaskState

__all__ = ["MAX_WORD", "snapshot_words", "task_words", "words_of"]

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


def snapshot_words(snapshot: Snapshot, tasks: Iterable[TaskState]) -> Iterator[str]:
    """Yield the words by which a job is found, beside those of its lines.

    Args:
        snapshot: the job's state.
        tasks: those of its tasks whose words are wanted.
    """
    yield from words_of([snapshot.job, snapshot.title, snapshot.name, snapshot.meta])
    for task in tasks:
        yield from task_words(task)


def task_words(task: TaskState) -> Iterator[str]:
    """Yield the words of one task by which its job is found."""
    error = cast("dict[str, str]", task.why.get("error") or {})
    yield from words_of([task.name, task.why.get("reason"), *error.values()])
