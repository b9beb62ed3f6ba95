"""How far back the stream of events reaches: what a server that starts now could still replay."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from bridge.bus.connection import connect
from bridge.settings import Settings
from socket_server.bus.sources import Stream
from socket_server.concurrency.state_lock import StateLock

__all__ = ["Marks", "StreamReach"]

logger = logging.getLogger(__name__)

#: Seconds that the broker is given to answer.
PATIENCE = 2.0


class Marks:
    """Notes up to where the stream was written, and so when what it has forgotten was. Pure.

    Args:
        replay: seconds that the stream is to reach back.
    """

    def __init__(self, replay: float) -> None:
        self._replay = replay
        self._marks: deque[tuple[float, int]] = deque()

    def note(self, first: int, written: int, now: float) -> float:
        """Return for how many seconds back the stream is whole, ``replay`` at most.

        Args:
            first: offset of the oldest message that the stream still has.
            written: offset of the message that will be written next.
            now: seconds, monotonic.
        """
        self._marks.append((now, written))
        while self._marks[0][0] < now - self._replay:
            self._marks.popleft()
        # What was written next after such a moment is forgotten already.
        gone = [at for at, offset in self._marks if offset < first]
        return now - gone[-1] if gone else self._replay


class StreamReach:
    """Asks the broker for the stream's oldest message, over a connection of its own.

    Args:
        settings: which stream, and how far it is to reach back.
        written: returns the offset of the message to be read next; None before the first.
        state_lock: which others have while the broker is asked.
    """

    def __init__(
        self, settings: Settings, written: Callable[[], int | None], state_lock: StateLock
    ) -> None:
        self._settings, self._written, self._state_lock = settings, written, state_lock
        self._marks = Marks(settings.replay)
        #: Seconds for which the stream is known to be whole; None while that is not known.
        self.seconds: float | None = None

    @property
    def part(self) -> float:
        """The same, as a part of how far the stream is to reach back."""
        return (self.seconds or 0.0) / self._settings.replay

    def look(self) -> None:
        """Ask, and note the answer; what the broker does not tell leaves the last one."""
        written = self._written()
        if written is None:
            return
        try:
            first = self._state_lock.outside(self._first)
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            logger.debug("taskbridge: the stream's beginning is not known: %s", error)
            return
        if first >= 0:
            self.seconds = self._marks.note(first, written, time.monotonic())

    def _first(self) -> int:
        options: dict[str, Any] = {"connect_timeout": PATIENCE}
        with connect(self._settings, self._settings.events, **options) as connection:
            connection.connect()
            return Stream(self._settings).oldest(connection)
