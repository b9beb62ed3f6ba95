"""``StreamPosition``: where in the stream an event is, and the cursors of clients."""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from bridge.protocol.event import Event

__all__ = ["BEGINNING", "GAP", "StreamPosition"]


class StreamPosition(NamedTuple):
    """Position of an event; the checksum tells apart equal offsets in two streams of one name."""

    offset: int
    check: int

    @classmethod
    def of(cls, event: Event, offset: int) -> StreamPosition:
        """Return the position of an event at an offset."""
        return cls(offset, crc32(f"{event.task} {event.run} {event.seq}".encode()))

    @classmethod
    def decode(cls, cursor: str, epoch: str) -> StreamPosition | None:
        """Return a cursor's position; None if the cursor is not of this epoch."""
        cursors_epoch, _, rest = cursor.rpartition(":")
        offset, _, check = rest.partition(".")
        if cursors_epoch != epoch or not (offset.isdecimal() and check.isdecimal()):
            return None
        return cls(int(offset), int(check))

    def cursor(self, epoch: str) -> str:
        """Return the cursor of a client that has the events up to this position."""
        return f"{epoch}:{self.offset}.{self.check}"


#: The position before the first event.
BEGINNING = StreamPosition(0, 0)
#: The position of events that were missed; no client has a cursor to it.
GAP = StreamPosition(0, 1)
