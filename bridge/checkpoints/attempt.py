"""``Checkpoints``: the checkpoints of one attempt of a task, stored from a thread of their own.

The task's thread encodes a state and puts it into a slot, where the next one replaces it. A second
thread hands the newest one to a third, which calls the store. So a store that is slow, away or does
not answer delays neither the task nor its events, and no broker of events delays a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.checkpoints.encoding import encoded
from bridge.checkpoints.records import Fences, Saved
from bridge.checkpoints.storing import Place, Slot, Storing
from bridge.errors import ResultsUnavailable
from bridge.periodic_thread import PeriodicThread
from bridge.protocol.json_types import JSONObject
from bridge.results.bounded_calls import PATIENCE
from bridge.results.call_thread import Call

__all__ = ["Checkpoints"]

#: Seconds between two looks at what is to be stored.
ROUND = 0.05
#: Seconds that an attempt waits for the state of the one before: without it, all is done again.
RESTORE_PATIENCE = 10.0
#: Seconds after which a call that does not return is given up, and another one is made.
GIVE_UP = 6.0
#: Seconds until a store that has failed is tried again.
AGAIN = 1.0
#: The end of an attempt waits for its last state: seconds at least and at most, and the share of
#: its duration in between. The end of a task that has succeeded waits for half of that share, and
#: ``CLEAR_WAIT`` at most, where the store is quick.
LEAST_WAIT, SHARE, CLEAR_WAIT = 0.5, 0.01, 0.1

SILENT = "the store does not answer"
NOTHING: JSONObject = {}


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
        self._place, self._storing = place, Storing(place, fences, share, complain)
        #: Whether ``restored`` returned None because the store did not answer.
        self._anew = False
        self._resumed: Saved | None = None
        self._slot: Slot | None = None
        self._count = 0
        self._call: Call | None = None
        self._called_at = 0.0
        self._began = time.monotonic()

    @property
    def told(self) -> JSONObject:
        """``saved`` and ``resumed`` of the run's progress events."""
        if self._resumed is None:
            return NOTHING if self._storing.saved_at is None else {"saved": self._storing.saved_at}
        resumed = {"at": self._resumed.at, "share": self._resumed.share}
        return {"saved": self._storing.saved_at or self._resumed.at, "resumed": resumed}

    def put(self, state: object) -> bool:
        """Note a state, to be stored soon; return False, with a warning, if it cannot be."""
        try:
            text = encoded(state)
        except (TypeError, ValueError, RecursionError) as error:
            self._storing.tell(f"a state {error}")
            return False
        self._count = seq = self._count + 1
        self._slot = (seq, text, time.time())
        if seq == 1:
            _keeper.add(self._place.key, self.keep_storing)
        return True

    def put_durably(self, state: object) -> bool:
        """Store a state now; return whether that was done within ``PATIENCE`` seconds."""
        return self.put(state) and self.settle(PATIENCE)

    def restored(self) -> Saved | None:
        """Return what an earlier attempt has stored; the first call may wait for the store."""
        if self._storing.fence is None and not self._anew and not self._storing.off:
            try:
                self._place.calls().ask(self._storing.take_over, within=RESTORE_PATIENCE)
            except Exception as error:  # noqa: BLE001 - whatever a store raises
                self._anew = True
                self._storing.tell(
                    f"what was stored cannot be read, and the task begins anew: {error}"
                )
        self._resumed = None if self._anew else self._storing.before
        return self._resumed

    def keep_storing(self) -> None:
        """Have the newest state stored, if it is time; never waits."""
        slot, call, now = self._slot, self._call, time.monotonic()
        if slot is None or slot[0] <= self._storing.stored or self._storing.off:
            return
        if call is not None and not call.done:
            if now >= self._called_at + PATIENCE:
                self._storing.tell(SILENT)
            if now < self._called_at + GIVE_UP:
                return
            call.abandon()
        elif now < self._storing.due:
            return
        self._offer()

    def settle(self, within: float | None = None) -> bool:
        """Store the newest state, unless it is; return whether it is stored in time.

        Args:
            within: seconds to wait at most; default a hundredth of the attempt's duration.
        """
        slot = self._slot
        if slot is None or self._storing.off:
            return False
        if slot[0] > self._storing.stored:
            wait = max(LEAST_WAIT, min(PATIENCE, self._hundredth)) if within is None else within
            if not self._await(self._offer(), wait):
                self._storing.tell(SILENT)
        return slot[0] <= self._storing.stored

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
        off, self._storing.off = self._storing.off, True
        under_way = self._call is not None and not self._call.done
        if not off and (self._storing.stored or self._storing.before or under_way):
            call = self._place.calls().offer(self._storing.clear)
            # A slow store would clear nothing in that time: it does so later, if the process lives.
            if self._storing.is_quick and not under_way:
                self._await(call, min(CLEAR_WAIT, self._hundredth / 2))

    @property
    def _hundredth(self) -> float:
        return SHARE * (time.monotonic() - self._began)

    def _offer(self) -> Call | None:
        self._called_at = time.monotonic()
        self._storing.due = self._called_at + AGAIN  # unless it is stored before
        self._call = self._place.calls().offer(lambda: self._storing.store(self._slot))
        return self._call

    def _await(self, call: Call | None, within: float) -> bool:
        if call is None:
            return False
        try:
            call.wait(within)
        except ResultsUnavailable:
            return False
        return True
