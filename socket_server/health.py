"""Whether a server is well, and whether clients should be sent to it."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Health"]

AWAY = "the broker is not being listened to"
BEHIND = "what was published before the start is still being read: {:.0%} so far"
DRAINING = "the server is draining: it stops"


class Listener(Protocol):
    """What listens to the broker."""

    alive: bool
    ready: bool
    replayed: float


class Health:
    """Tells what is wrong.

    Args:
        listener: what listens to the broker.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        #: Whether the server is about to stop.
        self.draining = False

    def illness(self) -> str | None:
        """Return why the server is not well; None if it is."""
        return None if self._listener.alive else AWAY

    def objection(self) -> str | None:
        """Return why no client should be sent here; None if nothing speaks against it."""
        if self.draining:
            return DRAINING
        if illness := self.illness():
            return illness
        return None if self._listener.ready else BEHIND.format(self._listener.replayed)
