"""``JobRecord``: one job in the journal, with its snapshot and the events that are still held."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import replace
from operator import itemgetter

from bridge.protocol.event import MAX_FOLLOWERS, Event
from bridge.protocol.event_checks import is_identifier
from bridge.protocol.snapshot import Snapshot
from socket_server.journal.executions import Executions
from socket_server.journal.stream_position import BEGINNING, GAP, StreamPosition

__all__ = ["JobRecord"]


class JobRecord:
    """One job in the journal. A server holds many, so it is kept small.

    Args:
        job: id of the job.
        headless: whether events before the first one of the record were missed.
    """

    __slots__ = ("_events", "_followers", "forgotten", "heard", "last", "runs", "size", "snapshot",
                 "whole")  # fmt: skip

    def __init__(self, job: str, *, headless: bool = False) -> None:
        self.snapshot = Snapshot(job)
        #: The current execution of each task.
        self.runs = Executions()
        #: Seconds since the epoch at which the newest event was folded in, by this server's clock;
        #: of replayed events, the latest of their own times that is not ahead of it. Events that
        #: only servers send (``SERVER_MADE``) do not count.
        self.heard = 0.0
        #: Events that must be delivered: offset, check and JSON, which takes a third of the memory
        #: of a decoded event. A list, since even an empty deque takes more than most jobs need.
        self._events: list[tuple[int, int, str]] = []
        #: Ids of tasks that a canvas runs after others, as far as reported; None for none.
        self._followers: list[str] | None = None
        #: Position of the newest event that was dropped.
        self.forgotten = GAP if headless else BEGINNING
        #: Position of the newest event that must be delivered.
        self.last = BEGINNING
        #: Characters of JSON of all events that are held.
        self.size = 0
        #: Whether every event that was published of it has come, but for gaps within a task's.
        self.whole = not headless

    @property
    def count(self) -> int:
        """Number of held events. Not ``__len__``, since an empty record would then be false."""
        return len(self._events)

    def fold(self, event: Event) -> Event | None:
        """Fold an event of the bus, or of this server, into the snapshot.

        Returns:
            The event with the number that this server gives its execution; None if the event was
            a duplicate or stale.
        """
        if event.type == "queued" and "followers" in event.data:
            self._expect(event.data["followers"])
        task = self.snapshot.task(event.task)
        unnumbered = event.run == 0 or event.verdict or event.type == "cancelling"
        if unnumbered or self.runs.are_unchanged_by(event, task):
            return event if self.snapshot.apply(event) else None
        execution = self.runs.of(event, task)
        if execution is None:
            return None
        same = execution.number == event.run
        numbered = event if same else replace(event, run=execution.number)
        if not self.snapshot.apply(numbered):
            return None
        self.runs.keep(event, execution)
        return numbered

    def _expect(self, followers: object) -> None:
        """Add the ids of tasks that are to follow; values that cannot be ids are left out."""
        known = self._followers or []
        told = followers if isinstance(followers, list) else []
        news = [one for one in told if is_identifier(one) and one not in known]
        self._followers = [*known, *news][:MAX_FOLLOWERS]

    def unheard(self) -> list[str]:
        """Return the ids of tasks that are to follow others and of which no event has come."""
        return [one for one in self._followers or () if self.snapshot.task(one) is None]

    def keep(self, place: StreamPosition, text: str) -> None:
        """Hold one more event."""
        self.last = place
        self._events.append((*place, text))
        self.size += len(text)

    def texts(self) -> list[str]:
        """Return the JSON of all events that are held."""
        return [text for _, _, text in self._events]

    def forget_oldest(self) -> int:
        """Drop the oldest event; return its size in characters."""
        offset, check, text = self._events.pop(0)
        self.forgotten = StreamPosition(offset, check)
        self.size -= len(text)
        return len(text)

    def forget_events(self) -> int:
        """Drop all events and return their size; a cursor to the newest stays valid."""
        size, self.size = self.size, 0
        self._events.clear()
        self.forgotten = self.last
        return size

    def forget_all(self) -> int:
        """Drop all events after a gap in the stream, which ends all cursors; return their size."""
        size = self.forget_events()
        self.forgotten = self.last = GAP
        self.whole = False
        return size

    def after(self, place: StreamPosition) -> int | None:
        """Return the offset of a position if all events after it are held, else None."""
        if place == BEGINNING and (self.forgotten != BEGINNING or self.snapshot.incomplete):
            return None
        if place == self.last:
            return place.offset
        if place not in (self.forgotten, BEGINNING) and not self._holds(place):
            return None
        return place.offset

    def _holds(self, place: StreamPosition) -> bool:
        at = bisect_left(self._events, place.offset, key=itemgetter(0))
        return at < len(self._events) and self._events[at][:2] == place

    def next_after(self, offset: int) -> tuple[int, str] | None:
        """Return offset and JSON of the first event after an offset; None if it is not held."""
        at = bisect_right(self._events, offset, key=itemgetter(0))
        if at == len(self._events) or self.forgotten.offset > offset:
            return None
        following, _, text = self._events[at]
        return following, text

    def length_after(self, offset: int) -> int:
        """Return the characters of all events that are held after an offset."""
        at = bisect_right(self._events, offset, key=itemgetter(0))
        return self.size if at == 0 else sum(len(text) for _, _, text in self._events[at:])
