"""``RecordedCheckpoints``: keeps the newest checkpoint of a recorded job, in place of a store."""

from __future__ import annotations

import json
import time
from typing import Any

from bridge.checkpoints.attempt import Checkpoints
from bridge.checkpoints.encoding import encoded
from bridge.checkpoints.records import Saved, fences_of
from bridge.checkpoints.storing import Place
from bridge.results.bounded_calls import BoundedCalls

__all__ = ["RecordedCheckpoints"]


class RecordedCheckpoints(Checkpoints):
    """Checkpoints in memory.

    Args:
        restored: state that an earlier attempt has stored; None for a first attempt.
    """

    def __init__(self, restored: object) -> None:
        place = Place("", lambda: None, BoundedCalls)
        super().__init__(place, fences_of({}), lambda: None, lambda why: None)
        if restored is not None:
            self._storing.before = Saved(json.loads(encoded(restored)), time.time(), None)
        #: The newest state; None without one.
        self.newest: Any = None

    def put(self, state: object) -> bool:
        """Keep a state; raise for one that a worker would not store.

        Raises:
            TypeError, ValueError: it is not JSON, or too large.
        """
        self.newest, self._storing.saved_at = json.loads(encoded(state)), time.time()
        return True

    def put_durably(self, state: object) -> bool:
        """Keep a state; see :meth:`put`."""
        return self.put(state)
