"""``Duplicates``: recognizes messages of the bus that came before. Pure, in memory, bounded."""

from __future__ import annotations

from bridge.identifiers import MAX_CHARACTERS

__all__ = ["Duplicates"]

#: Maximum ids that are remembered. A copy comes within seconds after the publisher's connection is
#: free again, and one id takes about 150 bytes.
MAX_IDS = 50_000


class Duplicates:
    """Remembers the ids of the newest messages.

    A publisher that gets no confirmation in time publishes the message again, with the same id,
    although the broker may still accept the first copy.

    Args:
        most: maximum ids that are remembered; the oldest is forgotten first.
    """

    def __init__(self, most: int = MAX_IDS) -> None:
        self._most = most
        self._ids: dict[str, None] = {}
        #: Number of duplicates so far.
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._ids)

    def is_new(self, id: object) -> bool:
        """Whether a message is no duplicate; its id is remembered.

        Args:
            id: id of the message. A value that is not a string of 1 to 255 characters is no id,
                and its message counts as new: python-socketio's own managers send no id.
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
