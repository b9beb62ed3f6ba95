"""Whether a server is well, and whether clients should be sent to it."""

from __future__ import annotations

from collections.abc import Callable
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
        reach: returns for how many seconds back the stream is whole; None while it is not known.
    """

    def __init__(self, listener: Listener, reach: Callable[[], float | None] | None = None) -> None:
        self._listener, self._reach = listener, reach
        #: Whether the server is about to stop.
        self.draining = False

    @property
    def reach(self) -> float | None:
        """For how many seconds back the stream is whole; None where that is not known."""
        return self._reach() if self._reach else None

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
