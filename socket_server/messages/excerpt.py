"""What a job told so far, read from the journal only as fast as a client takes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

__all__ = ["Forgotten", "Excerpt"]

#: Returns offset and JSON of the event that comes after an offset; None if it is not held any more.
Following = Callable[[int], tuple[int, str] | None]


class Forgotten(OSError):
    """An event that is still to be read is not held any more."""


class Excerpt:
    """The events of a job between two offsets. It holds none of them, only where it is.

    Args:
        following: reads the journal.
        after: offset after which it begins.
        last: offset of the last event.
        size: characters of JSON of all of them.
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
            most: characters to read, give or take the commas.

        Raises:
            Forgotten: the journal has dropped what comes next.
        """
        parts = []
        while most > 0 and self.left:
            found = self._following(self._after)
            if found is None or found[0] > self._last:
                raise Forgotten("the client reads more slowly than the journal forgets")
            offset, text = found
            if self._begun and not self._position:
                parts.append(",")
            parts.append(part := text[self._position : self._position + most])
            most -= len(part)
            self._begun, self._position = True, self._position + len(part)
            if self._position >= len(text):
                self._after, self._position = offset, 0
        return "".join(parts)

    def events(self) -> list[dict[str, Any]]:
        """Return all of them at once, decoded."""
        events: list[dict[str, Any]] = json.loads(f"[{self.read(self.size or 1)}]")
        return events
