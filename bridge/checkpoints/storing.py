"""``Storing``: the calls of one attempt to its store, made on the thread that calls the store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from bridge.checkpoints.records import Fences, Record, Saved, Store, body_of, saved_of
from bridge.results.bounded_calls import BoundedCalls

__all__ = ["Place", "Slot", "Storing", "clear"]

logger = logging.getLogger(__name__)

#: Times as long as a store took, until the next one, and seconds at most: storing takes a tenth of
#: the time, where the store is quick.
REST, LONGEST_REST = 9.0, 1.0
#: Seconds that a call to a quick store takes at most.
QUICK = 0.1


class Place(NamedTuple):
    """Where the checkpoints of a task are stored."""

    key: str
    #: Returns the store, on the thread that calls it; None if there can be none.
    store: Callable[[], Store | None]
    #: Returns the thread that calls the store.
    calls: Callable[[], BoundedCalls]
    #: Key of the task of an earlier job that this one goes on from; None for none.
    former: str | None = None


#: A state that was not stored yet: its number, its JSON and its time. It is a plain tuple, since a
#: task may make one in each step: a named one takes a third of a microsecond more.
Slot: TypeAlias = tuple[int, str, float]


class Storing:
    """The calls of an attempt to its store; one is made at a time, and each may block.

    Args:
        place: where the checkpoints of the task are stored.
        fences: those of the attempt.
        share: returns the share of the task's first bar that is done, from 0 to 1; None if unknown.
        complain: tells why checkpoints are not stored; called once.
    """

    def __init__(
        self,
        place: Place,
        fences: Fences,
        share: Callable[[], float | None],
        complain: Callable[[str], None],
    ) -> None:
        self._place, self._fences, self._share = place, fences, share
        self._complain, self._complained = complain, False
        #: Fence of the attempt; None until it has taken over.
        self.fence = fences.least if fences.first else None
        #: What an earlier attempt has stored.
        self.before: Saved | None = None
        #: Number of the newest stored state, and its time.
        self.stored = 0
        self.saved_at: float | None = None
        #: Whether nothing is stored any more: the task needs nothing to go on from, there is no
        #: store, or a newer attempt runs.
        self.off = False
        #: Time at which the next state is to be stored, in monotonic seconds.
        self.due = 0.0
        #: Whether the last call took less than ``QUICK`` seconds and did not fail.
        self.is_quick = True

    def store(self, slot: Slot | None) -> None:
        """Store a state, unless a newer one of the attempt is stored."""
        try:
            self._store(slot)
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self.is_quick = False
            self.tell(str(error) or type(error).__name__)

    def _store(self, slot: Slot | None) -> None:
        if slot is None or slot[0] <= self.stored or self.off:
            return
        store = self._found()
        if store is None or (self.fence is None and not self._take_over(store)):
            return
        assert self.fence is not None
        seq, text, at = slot
        began, body = time.monotonic(), body_of(text, at, self._share())
        if not store.save(self._place.key, Record(self.fence, seq, body)):
            self._be_outdone()
            return
        self.stored, self.saved_at = max(self.stored, seq), at
        now = time.monotonic()
        self.is_quick = now - began < QUICK
        self.due = now + min(REST * (now - began), LONGEST_REST)

    def take_over(self) -> None:
        """Raise the fence, and read what an earlier attempt has stored.

        Raises:
            Exception: whatever a store raises.
        """
        if (store := self._found()) is not None:
            self._take_over(store)

    def _take_over(self, store: Store) -> bool:
        taken = store.take_over(self._place.key, self._fences)
        if taken is None:
            self._be_outdone()
            return False
        # The greatest: a call that was given up may take over as well, later.
        self.fence = max(self.fence or 0, taken.fence)
        body = taken.body
        if body is None and self._place.former is not None:
            body = store.peek(self._place.former)
        self.before = self.before or saved_of(body)
        return True

    def clear(self) -> None:
        """Remove what is stored."""
        if self.fence is not None:
            clear(self._place, self.fence, first=self._fences.first)

    def _found(self) -> Store | None:
        if (store := self._place.store()) is None:
            self.off = True
            self.tell(
                "the result backend keeps nothing: set TASKBRIDGE_CHECKPOINT_URL to a Redis or a "
                "database"
            )
        return store

    def _be_outdone(self) -> None:
        self.off = True
        self.tell("a newer attempt of the task runs")

    def tell(self, why: str) -> None:
        """Tell why checkpoints are not stored, the first time."""
        if not self._complained:
            self._complained = True
            self._complain(why)


def clear(place: Place, fence: int, *, first: bool) -> None:
    """Remove what is stored of a task; a failure is logged.

    Args:
        place: where its checkpoints are stored.
        fence: see :class:`Store`.
        first: see :class:`Store`.
    """
    try:
        if (store := place.store()) is not None:
            store.clear(place.key, fence, first=first)
    except Exception as error:  # noqa: BLE001 - whatever a store raises
        logger.warning("taskbridge: a checkpoint is left until it expires: %s", error)
