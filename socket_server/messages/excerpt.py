"""A job's events, read from the journal only as fast as a client takes them."""

from __future__ import annotations

import json
from collections.abc import Callable

from bridge.protocol.json_types import JobEvent

__all__ = ["NO_EVENTS", "Excerpt", "Forgotten"]

#: Returns offset and JSON of the event after an offset; None if the journal has dropped it.
Following = Callable[[int], tuple[int, str] | None]


class Forgotten(OSError):
    """The journal has dropped an event that was still to be read."""


class Excerpt:
    """The events of a job between two offsets. It holds a position and no events.

    Args:
        following: function that reads the next event from the journal.
        after: offset after which the excerpt begins.
        last: offset of its last event.
        size: characters of the JSON of all its events.
    """

    __slots__ = ("_after", "_begun", "_following", "_last", "_position", "size")

    def __init__(self, following: Following, after: int, last: int, size: int) -> None:
        self._following, self._after, self._last = following, after, last
        self.size = size if after < last else 0
        self._position, self._begun = 0, False

    def __bool__(self) -> bool:
        return self.size > 0

    @property
    def left(self) -> bool:
        """Whether there is more to be read."""
        return self._after < self._last

    def read(self, most: int) -> str:
        """Return the next characters of the events' JSON, with commas between; "" at the end.

        Args:
            most: characters to read, not counting the commas.

        Raises:
            Forgotten: the journal has dropped the next event.
        """
        parts = []
        while most > 0 and self.left:
            offset, text = self._next()
            if self._begun and not self._position:
                parts.append(",")
            parts.append(part := text[self._position : self._position + most])
            most -= len(part)
            self._begun, self._position = True, self._position + len(part)
            if self._position >= len(text):
                self._after, self._position = offset, 0
        return "".join(parts)

    def event(self) -> str:
        """Return the next event's JSON; "" at the end. Not for an excerpt that ``read`` has begun.

        Raises:
            Forgotten: the journal has dropped the next event.
        """
        if not self.left:
            return ""
        self._after, text = self._next()
        return text

    def _next(self) -> tuple[int, str]:
        found = self._following(self._after)
        if found is None or found[0] > self._last:
            raise Forgotten("the client reads more slowly than the journal forgets")
        return found

    def events(self) -> list[JobEvent]:
        """Read all events, and return them decoded."""
        events: list[JobEvent] = json.loads(f"[{self.read(self.size or 1)}]")
        return events


#: The events of a job that the journal does not hold.
NO_EVENTS = Excerpt(lambda _: None, after=0, last=0, size=0)
