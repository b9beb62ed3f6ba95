"""A record: one job in the journal, and what of it is still held."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple
from zlib import crc32

from bridge.events import Event
from bridge.snapshot import Snapshot

__all__ = ["BEGINNING", "Kept", "Place", "Record", "place_of"]


class Place(NamedTuple):
    """Where an event is: the offset alone would also fit another stream of the same name."""

    offset: int
    check: int


class Kept(NamedTuple):
    """An event that is held for those who come back."""

    place: Place
    message: dict[str, Any]
    size: int


#: Before the first event.
BEGINNING = Place(0, 0)
#: Where events were missed; no client has a cursor to it.
GAP = Place(0, 1)


def place_of(event: Event, offset: int) -> Place:
    """Return the place of an event with an offset."""
    return Place(offset, crc32(f"{event.task} {event.run} {event.seq}".encode()))


class Record:
    """One job in the journal."""

    __slots__ = ("events", "forgotten", "last", "size", "snapshot")

    def __init__(self, job: str) -> None:
        self.snapshot = Snapshot(job)
        #: Events that must be delivered.
        self.events: deque[Kept] = deque()
        #: Place of the newest event that is held no more.
        self.forgotten = BEGINNING
        #: Place of the newest event that must be delivered.
        self.last = BEGINNING
        #: Bytes of all that are held.
        self.size = 0

    def keep(self, kept: Kept) -> None:
        """Hold one more event."""
        self.last = kept.place
        self.events.append(kept)
        self.size += kept.size

    def forget_oldest(self) -> int:
        """Let go of the oldest event; return its bytes."""
        self.forgotten, _, size = self.events.popleft()
        self.size -= size
        return size

    def forget_all(self) -> int:
        """Let go of all events, after a gap; return their bytes."""
        size, self.size = self.size, 0
        self.events.clear()
        self.forgotten = self.last = GAP
        return size

    def since(self, place: Place) -> list[dict[str, Any]] | None:
        """Return what is held after a place; None if that may not be all there was."""
        if place == self.last:
            return []
        if place == BEGINNING and (self.forgotten != BEGINNING or self.snapshot.incomplete):
            return None
        after = [kept.message for kept in self.events if kept.place.offset > place.offset]
        known = place in (self.forgotten, BEGINNING) or any(k.place == place for k in self.events)
        return after if known else None

    def held(self) -> list[dict[str, Any]]:
        """Return all that is held."""
        return [kept.message for kept in self.events]
