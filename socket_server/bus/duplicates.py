"""Which messages of the bus have come before. Pure, in memory, bounded."""

from __future__ import annotations

from typing import Any

from bridge.identifiers import MAX_CHARACTERS

__all__ = ["Duplicates"]

#: Ids that are remembered: those of the newest messages. A copy comes within seconds after the
#: publisher's connection is free again, and one id takes about 150 bytes.
MAX_IDS = 50_000


class Duplicates:
    """Remembers the ids of the newest messages.

    A publisher that gets no confirmation in time publishes the message again, with the same id,
    though the broker may still take the first copy.

    Args:
        most: ids that are remembered; the oldest is forgotten first.
    """

    def __init__(self, most: int = MAX_IDS) -> None:
        self._most = most
        self._ids: dict[str, None] = {}
        #: Messages that had come before.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._ids)

    def is_new(self, id: Any) -> bool:
        """Whether a message is to be handled; its id is remembered.

        Args:
            id: of the message. What is no string of 1 to 255 characters identifies nothing, so that
                the message is handled: python-socketio's own managers send no id.
        """
        if not isinstance(id, str) or not 0 < len(id) <= MAX_CHARACTERS:
            return True
        if id in self._ids:
            self.dropped += 1
            return False
        self._ids[id] = None
        if len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]
        return True
