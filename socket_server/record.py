"""A record: one job in the journal, and what of it is still held."""

from __future__ import annotations

import json
from typing import Any, NamedTuple
from zlib import crc32

from bridge.events import Event
from bridge.snapshot import Snapshot

__all__ = ["BEGINNING", "Place", "Record", "place_of"]


class Place(NamedTuple):
    """Where an event is: the offset alone would also fit another stream of the same name."""

    offset: int
    check: int


#: Before the first event.
BEGINNING = Place(0, 0)
#: Where events were missed; no client has a cursor to it.
GAP = Place(0, 1)


def place_of(event: Event, offset: int) -> Place:
    """Return the place of an event with an offset."""
    return Place(offset, crc32(f"{event.task} {event.run} {event.seq}".encode()))


class Record:
    """One job in the journal. A server holds many, so it is kept small.

    Args:
        job: its id.
        headless: whether events were missed before the first that is held.
    """

    __slots__ = ("_events", "forgotten", "last", "size", "snapshot")

    def __init__(self, job: str, *, headless: bool = False) -> None:
        self.snapshot = Snapshot(job)
        #: Events that must be delivered: offset, check and JSON, which takes a third of what it
        #: takes decoded. A list, since an empty deque alone takes more than most jobs need.
        self._events: list[tuple[int, int, str]] = []
        #: Place of the newest event that is held no more.
        self.forgotten = GAP if headless else BEGINNING
        #: Place of the newest event that must be delivered.
        self.last = BEGINNING
        #: Characters of all that are held.
        self.size = 0

    @property
    def count(self) -> int:
        """Events that are held. Not its length, or a record that holds none would be false."""
        return len(self._events)

    def keep(self, place: Place, text: str) -> None:
        """Hold one more event."""
        self.last = place
        self._events.append((*place, text))
        self.size += len(text)

    def forget_oldest(self) -> int:
        """Let go of the oldest event; return its size."""
        offset, check, text = self._events.pop(0)
        self.forgotten = Place(offset, check)
        self.size -= len(text)
        return len(text)

    def forget_all(self) -> int:
        """Let go of all events, after a gap; return their size."""
        size, self.size = self.size, 0
        self._events.clear()
        self.forgotten = self.last = GAP
        return size

    def since(self, place: Place) -> list[dict[str, Any]] | None:
        """Return what is held after a place; None if that may not be all there was."""
        if place == self.last:
            return []
        if place == BEGINNING and (self.forgotten != BEGINNING or self.snapshot.incomplete):
            return None
        if place not in (self.forgotten, BEGINNING) and not self._holds(place):
            return None
        return [json.loads(text) for offset, _, text in self._events if offset > place.offset]

    def _holds(self, place: Place) -> bool:
        return any((offset, check) == place for offset, check, _ in self._events)

    def held(self) -> list[dict[str, Any]]:
        """Return all that is held."""
        return [json.loads(text) for _, _, text in self._events]
