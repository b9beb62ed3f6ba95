"""How far back the stream of events is complete: what a server that starts now could replay."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from bridge.bus.connection import connect
from bridge.settings import Settings
from socket_server.bus.sources import Stream
from socket_server.concurrency.state_lock import StateLock

__all__ = ["Marks", "StreamReach"]

logger = logging.getLogger(__name__)

#: Maximum seconds to connect to the broker.
PATIENCE = 2.0


class Marks:
    """Notes the offset of the stream's end over time, and so dates what the stream dropped. Pure.

    Args:
        replay: seconds for which the stream should reach back.
    """

    def __init__(self, replay: float) -> None:
        self._replay = replay
        self._marks: deque[tuple[float, int]] = deque()

    def note(self, first: int, written: int, now: float) -> float:
        """Return the seconds back for which the stream is complete, as far as noted.

        They are at most ``replay``.

        Args:
            first: offset of the oldest message that the stream still has.
            written: offset of the next message to be written.
            now: monotonic seconds.
        """
        self._marks.append((now, written))
        while self._marks[0][0] < now - self._replay:
            self._marks.popleft()
        # Times after which the stream has dropped messages.
        gone = [at for at, offset in self._marks if offset < first]
        return now - gone[-1] if gone else self._replay


class StreamReach:
    """Asks the broker for the offset of the stream's oldest message, over a separate connection.

    Args:
        settings: URL of the broker, channel, and seconds for which the stream should reach back.
        written: returns the offset of the next message to be read; None before the first.
        state_lock: the state lock, released while the broker is asked.
    """

    def __init__(
        self, settings: Settings, written: Callable[[], int | None], state_lock: StateLock
    ) -> None:
        self._settings, self._written, self._state_lock = settings, written, state_lock
        self._marks = Marks(settings.replay)
        #: Seconds back for which the stream is complete; None before the first answer.
        self.seconds: float | None = None

    @property
    def part(self) -> float:
        """``seconds`` as a fraction of the seconds for which the stream should reach back."""
        return (self.seconds or 0.0) / self._settings.replay

    def look(self) -> None:
        """Ask the broker and update ``seconds``, which stays as it is if there is no answer."""
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
        with connect(self._settings, self._settings.events, connect_timeout=PATIENCE) as connection:
            connection.connect()
            return Stream(self._settings).oldest(connection)
