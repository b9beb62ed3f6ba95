"""Losses: what an outbox had to drop, by kind."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.protocol.event import NAMESPACE
from bridge.sending.entries import Push

__all__ = ["PUSHES_DROPPED", "Losses"]

#: Event that tells the clients of a job, or of an owner, how many own events they miss.
PUSHES_DROPPED = "pushes_dropped"
#: Rooms whose lost own events are counted one by one; of others only the sum is known.
MAX_ROOMS = 1_000

#: A room of ``/jobs``, and the shard whose servers have it.
Room = tuple[str, int | None]


class Losses:
    """Counts, since the start of a process, of what it did not send."""

    def __init__(self) -> None:
        #: Log lines and chunks of output.
        self.lines = 0
        #: Own events.
        self.pushes = 0
        #: Lifecycle events that are not the end of a run.
        self.events = 0
        #: Ends of runs: of these a server has to ask the result backend.
        self.ends = 0
        #: Ends that were sent without the last state of their bars, and with their error or result
        #: shortened.
        self.shortened = 0
        self._rooms: dict[Room, int] = {}

    def counts(self) -> dict[str, int]:
        """Return the counts by the names that they have on the wire."""
        return {
            "dropped": self.lines,
            "dropped_pushes": self.pushes,
            "dropped_events": self.events,
            "dropped_ends": self.ends,
            "shortened_ends": self.shortened,
        }

    def note_push(self, push: Push) -> None:
        """Count an own event; its room is told the next time if it is one of ``/jobs``."""
        self.pushes += 1
        key = push.room or "", push.shard
        if push.namespace == NAMESPACE and (key in self._rooms or len(self._rooms) < MAX_ROOMS):
            self._rooms[key] = self._rooms.get(key, 0) + 1

    def notice(self, push: Push) -> Iterator[Push]:
        """Yield what the room of an own event is to be told before it, if anything."""
        if push.namespace == NAMESPACE:
            yield from self._notice((push.room or "", push.shard))

    def notices(self) -> Iterator[Push]:
        """Yield what all rooms are to be told."""
        for key in list(self._rooms):
            yield from self._notice(key)

    def _notice(self, key: Room) -> Iterator[Push]:
        if count := self._rooms.pop(key, 0):
            yield Push(PUSHES_DROPPED, {"count": count}, NAMESPACE, *key)
