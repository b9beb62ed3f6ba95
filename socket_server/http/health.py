"""Health checks of a server: whether it is healthy, and whether it should get clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Health"]

AWAY = "the broker is not being listened to"
BEHIND = "what was published before the start is still being read: {:.0%} so far"
DRAINING = "the server is draining: it stops"


class Listener(Protocol):
    """The state of what listens to the broker."""

    alive: bool
    ready: bool
    replayed: float


class Health:
    """Reasons why a server is unhealthy, or should get no clients.

    Args:
        listener: what listens to the broker.
        reach: returns for how many seconds back the stream is complete; None while unknown.
    """

    def __init__(self, listener: Listener, reach: Callable[[], float | None] | None = None) -> None:
        self._listener, self._reach = listener, reach
        #: Whether the server sends its clients away, since it is about to stop.
        self.draining = False

    @property
    def reach(self) -> float | None:
        """Seconds back from now for which the stream is complete; None if unknown."""
        return self._reach() if self._reach else None

    def illness(self) -> str | None:
        """Return why the server is unhealthy; None if it is healthy."""
        return None if self._listener.alive else AWAY

    def objection(self) -> str | None:
        """Return why the server should get no clients; None if it may get some."""
        if self.draining:
            return DRAINING
        if illness := self.illness():
            return illness
        return None if self._listener.ready else BEHIND.format(self._listener.replayed)
