"""``EventPath``: whether events of workers can reach this server, as probes prove.

A task's silence means something only while this server could have heard it. A connection to the
broker alone does not prove that: a broker with a memory or disk alarm blocks all publishers and
keeps all connections.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from bridge.bus import refusals
from bridge.bus.write_only_manager import WriteOnlyManager
from socket_server.bus.jobs_manager import PROBE_NAMESPACE
from socket_server.liveness.watchdog import MAX_GAP

__all__ = ["EventPath", "Prober"]

logger = logging.getLogger(__name__)

#: Fraction of ``TASKBRIDGE_STALLED_AFTER`` without any message after which the path counts as
#: disturbed, and its minimum in seconds. With the interval of a task's own heartbeats (a third) it
#: is less than 1, so that a disturbance does not make a task stalled.
PART, LEAST = 0.5, 1.0
#: Number of probes in that time.
PROBES = 3


class EventPath:
    """Tracks when a message last arrived over the bus. Pure.

    Args:
        stalled_after: seconds without an event after which a task is stalled.
        clock: monotonic clock, in seconds.
    """

    def __init__(self, stalled_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        #: Seconds without a message after which the path counts as disturbed.
        self.limit = max(LEAST, PART * stalled_after)
        #: Whether the server may publish probes; if not, silence while it listens proves nothing.
        self.probing = True
        #: Whether no message arrived for more than ``limit`` seconds.
        self.disturbed = False
        self._clock = clock
        self._looked = clock()
        # Seconds in which this server could have received messages: its own pauses do not count.
        self._now = self._heard = 0.0
        #: ``count`` at the last look; None if the server was not listening then.
        self._count: int | None = None
        self._proven = False

    @property
    def silent(self) -> float:
        """Seconds since a message arrived."""
        return self._now - self._heard

    @property
    def is_open(self) -> bool:
        """Whether a message arrived lately, so that the silence of one task means something."""
        return self._proven and not self.disturbed

    def look(self, count: int, *, listening: bool) -> bool:
        """Update the state; return whether ``disturbed`` has changed.

        Args:
            count: number of events and own probes that have arrived so far.
            listening: whether the server is connected to the broker, and has replayed the stream.
        """
        now = self._clock()
        self._now += min(now - self._looked, MAX_GAP)
        self._looked = now
        # If the server was not listening at the last look, the messages since may be replayed ones.
        came = self._count is not None and count != self._count
        if listening and (came or not self.probing):
            self._heard, self._proven = self._now, True
        self._count = count if listening else None
        before, self.disturbed = self.disturbed, self.silent > self.limit
        return self.disturbed != before


class Prober:
    """Publishes probes in the way in which workers publish events, one at a time.

    Args:
        writer: publishes, with limits of time; used by this prober alone.
        id: id of this server, which is the room of its probes.
        path: its ``probing`` is set to False when the broker refuses probes.
    """

    def __init__(self, writer: WriteOnlyManager, id: str, path: EventPath) -> None:
        self._writer, self._id, self._path = writer, id, path
        self._is_probing = False

    @property
    def interval(self) -> float:
        """Seconds between two probes."""
        return self._path.limit / PROBES

    def probe(self) -> None:
        """Publish a probe; return at once if the last one is still being published."""
        if self._is_probing or not self._path.probing:
            return
        self._is_probing = True
        try:
            self._writer.emit("probe", None, namespace=PROBE_NAMESPACE, room=self._id)
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            # A login may be corrected at the broker, or be refused while the broker starts.
            lacks_right = getattr(error, "reply_code", None) == ACCESS_REFUSED
            if lacks_right and not refusals.is_login(error):
                self._path.probing = False
                logger.warning(NO_RIGHT, error)
            logger.debug("taskbridge: a probe could not be published: %s", error)
        finally:
            self._is_probing = False


#: AMQP's reply code for a missing permission.
ACCESS_REFUSED = 403
NO_RIGHT = (
    "taskbridge: this server may not publish events, so it cannot tell a broker that blocks "
    "publishers from workers that are silent: give its user the right to write: %s"
)
