"""``Checkpoints``: the checkpoints of one attempt of a task, stored from a thread of their own.

The task's thread encodes a state and puts it into a slot, where the next one replaces it. A second
thread hands the newest one to a third, which calls the store. So a store that is slow, away or does
not answer delays neither the task nor its events, and no broker of events delays a checkpoint.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from bridge.checkpoints.encoding import encoded
from bridge.checkpoints.records import Fences, Record, Saved, Store, body_of, saved_of
from bridge.errors import ResultsUnavailable
from bridge.periodic_thread import PeriodicThread
from bridge.protocol.json_types import JSONObject
from bridge.results.bounded_calls import PATIENCE, BoundedCalls
from bridge.results.call_thread import Call

__all__ = ["Checkpoints", "Place"]

logger = logging.getLogger(__name__)

#: Seconds between two looks at what is to be stored.
ROUND = 0.05
#: Seconds that an attempt waits for the state of the one before: without it, all is done again.
RESTORE_PATIENCE = 10.0
#: Seconds after which a call that does not return is given up, and another one is made.
GIVE_UP = 6.0
#: Seconds until a store that has failed is tried again.
AGAIN = 1.0
#: Times as long as a store took, until the next one, and seconds at most: storing takes a tenth of
#: the time, where the store is quick.
REST, LONGEST_REST = 9.0, 1.0
#: The end of an attempt waits for its last state: seconds at least and at most, and the share of
#: its duration in between. The end of a job that has succeeded waits for no more than that share.
LEAST_WAIT, SHARE = 0.5, 0.01

SILENT = "the store does not answer"
NOTHING: JSONObject = {}


class Place(NamedTuple):
    """Where the checkpoints of a task are stored."""

    key: str
    #: Returns the store, on the thread that calls it; None if there can be none.
    store: Callable[[], Store | None]
    #: Returns the thread that calls the store.
    calls: Callable[[], BoundedCalls]


class Slot(NamedTuple):
    """A state that was not stored yet."""

    seq: int
    text: str
    at: float


_keeper = PeriodicThread("taskbridge-checkpoints", "taskbridge: a checkpoint: %s", ROUND)


class Checkpoints:
    """The checkpoints of one attempt of a task.

    Args:
        place: where they are stored.
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
        self._complain = complain
        #: None until the attempt has taken over.
        self._fence = fences.least if fences.first else None
        self._before: Saved | None = None
        #: Whether the task was told that there is nothing to go on from, as nothing was known.
        self._anew = False
        self._resumed: Saved | None = None
        self._saved_at: float | None = None
        self._slot: Slot | None = None
        self._count = self._stored = 0
        #: Whether nothing is stored any more: the attempt has ended, there is no store, or a newer
        #: attempt runs.
        self._off = False
        self._call: Call | None = None
        self._called_at = self._due = 0.0
        self._began = time.monotonic()
        self._complained = False

    @property
    def told(self) -> JSONObject:
        """``saved`` and ``resumed`` of the run's progress events."""
        if self._resumed is None:
            return NOTHING if self._saved_at is None else {"saved": self._saved_at}
        resumed = {"at": self._resumed.at, "share": self._resumed.share}
        return {"saved": self._saved_at or self._resumed.at, "resumed": resumed}

    def put(self, state: object) -> bool:
        """Note a state, to be stored soon; return False, with a warning, if it cannot be."""
        try:
            text = encoded(state)
        except (TypeError, ValueError, RecursionError) as error:
            self._tell(f"a state {error}")
            return False
        self._count = seq = self._count + 1
        self._slot = Slot(seq, text, time.time())
        if seq == 1:
            _keeper.add(self._place.key, self.keep_storing)
        return True

    def put_durably(self, state: object) -> bool:
        """Store a state now; return whether that was done within ``PATIENCE`` seconds."""
        return self.put(state) and self.settle(PATIENCE)

    def restored(self) -> Saved | None:
        """Return what an earlier attempt has stored; the first call may wait for the store."""
        if self._fence is None and not self._anew and not self._off:
            try:
                self._place.calls().ask(self._take_over_first, within=RESTORE_PATIENCE)
            except Exception as error:  # noqa: BLE001 - whatever a store raises
                self._anew = True
                self._tell(f"what was stored cannot be read, and the task begins anew: {error}")
        self._resumed = None if self._anew else self._before
        return self._resumed

    def keep_storing(self) -> None:
        """Have the newest state stored, if it is time; never waits."""
        slot, call, now = self._slot, self._call, time.monotonic()
        if slot is None or slot.seq <= self._stored or self._off:
            return
        if call is not None and not call.done:
            if now >= self._called_at + PATIENCE:
                self._tell(SILENT)
            if now < self._called_at + GIVE_UP:
                return
            call.abandon()
        elif now < self._due:
            return
        self._offer()

    def settle(self, within: float | None = None) -> bool:
        """Store the newest state, unless it is; return whether it is stored in time.

        Args:
            within: seconds to wait at most; default a hundredth of the attempt's duration.
        """
        slot = self._slot
        if slot is None or self._off:
            return False
        if slot.seq > self._stored:
            wait = max(LEAST_WAIT, min(PATIENCE, self._hundredth)) if within is None else within
            if not self._await(self._offer(), wait):
                self._tell(SILENT)
        return slot.seq <= self._stored

    def end(self, *, keep: bool) -> None:
        """End the attempt.

        Args:
            keep: whether the newest state is stored for a next attempt; otherwise it is removed.
        """
        if self._count:
            _keeper.remove(self._place.key)
        if keep:
            self.settle()
            return
        off, self._off = self._off, True
        under_way = self._call is not None and not self._call.done
        if not off and (self._stored or self._before or under_way):
            self._await(self._place.calls().offer(self._clear), min(1.0, self._hundredth))

    @property
    def _hundredth(self) -> float:
        return SHARE * (time.monotonic() - self._began)

    def _offer(self) -> Call | None:
        self._called_at = time.monotonic()
        self._due = self._called_at + AGAIN
        self._call = self._place.calls().offer(self._store_newest)
        return self._call

    def _await(self, call: Call | None, within: float) -> bool:
        if call is None:
            return False
        try:
            call.wait(within)
        except ResultsUnavailable:
            return False
        return True

    # What follows runs on the thread that calls the store.

    def _store_newest(self) -> None:
        try:
            self._store(self._slot)
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            self._tell(str(error) or type(error).__name__)

    def _store(self, slot: Slot | None) -> None:
        if slot is None or slot.seq <= self._stored or self._off:
            return
        store = self._found()
        if store is None or (self._fence is None and not self._take_over(store)):
            return
        assert self._fence is not None
        began, body = time.monotonic(), body_of(slot.text, slot.at, self._share())
        if not store.save(self._place.key, Record(self._fence, slot.seq, body)):
            self._be_outdone()
            return
        self._stored, self._saved_at = max(self._stored, slot.seq), slot.at
        now = time.monotonic()
        self._due = now + min(REST * (now - began), LONGEST_REST)

    def _found(self) -> Store | None:
        if (store := self._place.store()) is None:
            self._off = True
            self._tell(
                "the result backend keeps nothing: set TASKBRIDGE_CHECKPOINT_URL to a Redis or a "
                "database"
            )
        return store

    def _take_over_first(self) -> None:
        if (store := self._found()) is not None:
            self._take_over(store)

    def _take_over(self, store: Store) -> bool:
        taken = store.take_over(self._place.key, self._fences)
        if taken is None:
            self._be_outdone()
            return False
        # The greatest: a call that was given up may take over as well, later.
        self._fence = max(self._fence or 0, taken.fence)
        self._before = self._before or saved_of(taken.body)
        return True

    def _be_outdone(self) -> None:
        self._off = True
        self._tell("a newer attempt of the task runs")

    def _clear(self) -> None:
        try:
            if (store := self._place.store()) is not None and self._fence is not None:
                store.clear(self._place.key, self._fence, first=self._fences.first)
        except Exception as error:  # noqa: BLE001 - whatever a store raises
            logger.warning("taskbridge: a checkpoint is left until it expires: %s", error)

    def _tell(self, why: str) -> None:
        if not self._complained:
            self._complained = True
            self._complain(why)
