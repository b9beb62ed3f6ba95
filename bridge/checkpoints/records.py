"""``Record``: a stored checkpoint; ``Store``: its place; ``fences_of``: an attempt's fences. Pure.

Each attempt of a task has a fence, a number that is greater for a newer attempt. A store keeps the
fence of the newest attempt that has used it, and refuses records of a smaller one: an attempt that
was frozen, or cut off, and goes on later, changes nothing. The first execution of a task knows its
fence without the store. A later one takes over: the store raises the fence and returns the record,
in one atomic step.
"""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple, Protocol

from bridge.protocol.event_checks import is_number
from bridge.protocol.json_types import JSONObject

__all__ = [
    "MAX_BODY",
    "MAX_STATE_BYTES",
    "Fences",
    "Record",
    "Saved",
    "Store",
    "Taken",
    "body_of",
    "fences_of",
    "saved_of",
]

logger = logging.getLogger(__name__)

#: Largest state, in bytes of JSON.
MAX_STATE_BYTES = 64 * 1024
#: Largest body of a record, in bytes: a state, with its time and share.
MAX_BODY = MAX_STATE_BYTES + 256
#: Bits of a fence that count the executions of one attempt, all of which the broker redelivered.
REDELIVERIES = 20
#: Highest attempt with a fence of its own: larger fences would not be exact in Lua's numbers.
MAX_ATTEMPT = 2**31


class Fences(NamedTuple):
    """Fences of an execution, as Celery's data tells them."""

    #: Fence of a first execution; the smallest one of any other.
    least: int
    #: Smallest fence of an execution that is newer by Celery's data.
    newer: int
    #: Whether it is a first execution, which has nothing to go on from.
    first: bool


class Saved(NamedTuple):
    """A state that was stored."""

    state: Any
    #: Seconds since the epoch, by the clock of the worker that stored it.
    at: float
    #: Share of the task's first bar that was done, from 0 to 1; None if unknown.
    share: float | None


class Record(NamedTuple):
    """A state to be stored."""

    fence: int
    #: Number of the checkpoint among those of its attempt.
    seq: int
    #: JSON of the state, its time and share; see :func:`body_of`.
    body: str


class Taken(NamedTuple):
    """What an execution gets that takes over."""

    fence: int
    body: str | None


class Store(Protocol):
    """Stores the newest record of each task. Each method blocks, and raises if the store fails."""

    def save(self, key: str, record: Record) -> bool:
        """Store a record; return False if a newer attempt has taken over."""
        ...

    def take_over(self, key: str, fences: Fences) -> Taken | None:
        """Raise the fence, and return it with the stored body; None for an older attempt."""
        ...

    def peek(self, key: str) -> str | None:
        """Return the stored body, and change nothing; None without one."""
        ...

    def clear(self, key: str, fence: int, *, first: bool) -> None:
        """Remove the state, unless a newer attempt has taken over.

        Args:
            key: key of the task.
            fence: fence of the attempt.
            first: whether no other attempt can exist; otherwise the fence is kept.
        """
        ...


def fences_of(execution: JSONObject) -> Fences:
    """Return the fences of an execution.

    Args:
        execution: ``attempt`` and ``redelivered`` as Celery knows them.
    """
    attempt, again = min(execution.get("attempt", 1), MAX_ATTEMPT), execution.get("redelivered")
    rank = 2 * attempt + bool(again)
    return Fences(rank << REDELIVERIES, (rank + 1) << REDELIVERIES, attempt == 1 and not again)


def body_of(state: str, at: float, share: float | None) -> str:
    """Return the body of a record; ``state`` is JSON."""
    return f'{{"at":{at!r},"share":{json.dumps(share)},"state":{state}}}'


def saved_of(body: str | None) -> Saved | None:
    """Return what a body says; None without one, or, with a warning, if it is malformed."""
    if body is None:
        return None
    try:
        told = json.loads(body)
        at, share = told["at"], told["share"]
        if is_number(at) and (share is None or (is_number(share) and 0 <= share <= 1)):
            return Saved(told["state"], at, share)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    logger.warning("taskbridge: a stored checkpoint is malformed: the task begins anew")
    return None
