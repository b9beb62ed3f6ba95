"""Whether what workers publish can reach this server: proven by probes, never assumed.

A task's silence means something only while this server could have heard it. A connection to the
broker alone does not prove that: a broker with a memory or disk alarm blocks all publishers and
keeps all connections.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from socket_server.bus.managers import PROBE_NAMESPACE
from socket_server.liveness.watchdog import MAX_GAP

__all__ = ["Path", "Prober"]

logger = logging.getLogger(__name__)

#: The part of ``TASKBRIDGE_STALLED_AFTER`` for which nothing may be heard at all before hearing
#: counts as unproven, and the least number of seconds. With the interval of a task's own heartbeats
#: (a third) it is less than the whole, so that a disturbance does not make a task stalled.
PART, LEAST = 0.5, 1.0
#: Probes that are published within that time.
PROBES = 3


class Path:
    """Keeps account of when something was last heard. Pure.

    Args:
        stalled_after: seconds of silence after which a task is called stalled.
        clock: monotonic seconds.
    """

    def __init__(self, stalled_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        #: Seconds for which nothing may be heard.
        self.limit = max(LEAST, PART * stalled_after)
        #: Whether probes can be published: a server may have no right to write.
        self.probing = True
        #: Whether nothing was heard for too long.
        self.disturbed = False
        self._clock = clock
        self._looked = clock()
        # Seconds in which this server could have heard something: its own pauses do not count.
        self._now = self._heard = 0.0
        #: What had come at the last look; None if the broker was not listened to then.
        self._count: int | None = None
        self._proven = False

    @property
    def silent(self) -> float:
        """Seconds since something was heard."""
        return self._now - self._heard

    @property
    def is_open(self) -> bool:
        """Whether something was heard lately, so that the silence of one task means something."""
        return self._proven and not self.disturbed

    def look(self, count: int, *, listening: bool) -> bool:
        """Take in what has come since the last look; return whether ``disturbed`` has changed.

        Args:
            count: events and own probes that have come so far, whatever they were.
            listening: whether the broker is being listened to, and the past has been read.
        """
        now = self._clock()
        self._now += min(now - self._looked, MAX_GAP)
        self._looked = now
        # What has come since a look at which the past was still being read may be of the past.
        came = self._count is not None and count != self._count
        if listening and (came or not self.probing):
            self._heard, self._proven = self._now, True
        self._count = count if listening else None
        before, self.disturbed = self.disturbed, self.silent > self.limit
        return self.disturbed != before


class Prober:
    """Publishes probes the way workers publish events, one at a time.

    Args:
        writer: publishes, bounded in time; used by this prober alone.
        id: of this server; its probes are in a room of that name.
        path: is told when probes are refused.
    """

    def __init__(self, writer: Any, id: str, path: Path) -> None:
        self._writer, self._id, self._path = writer, id, path
        self._is_probing = False

    @property
    def interval(self) -> float:
        """Seconds between two probes."""
        return self._path.limit / PROBES

    def probe(self) -> None:
        """Publish one; return at once if the last is still on its way to the broker."""
        if self._is_probing or not self._path.probing:
            return
        self._is_probing = True
        try:
            self._writer.emit("probe", None, namespace=PROBE_NAMESPACE, room=self._id)
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            if getattr(error, "reply_code", None) == ACCESS_REFUSED:
                self._path.probing = False
                logger.warning(NO_RIGHT, error)
            logger.debug("taskbridge: a probe could not be published: %s", error)
        finally:
            self._is_probing = False


#: AMQP's reply code for a missing right.
ACCESS_REFUSED = 403
NO_RIGHT = (
    "taskbridge: this server may not publish events, so it cannot tell a broker that blocks "
    "publishers from workers that are silent: give its user the right to write: %s"
)
