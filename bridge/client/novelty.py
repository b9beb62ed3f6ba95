"""``Novelty``: detects events of a job that a server repeats, as after a reconnect. Pure."""

from __future__ import annotations

from bridge.protocol.event import Event

__all__ = ["Novelty"]


class Novelty:
    """The events of one job that a client has seen. The page's ``novelty.ts`` does the same."""

    def __init__(self) -> None:
        #: ``order`` of the newest event of each task.
        self._orders: dict[str, tuple[int, int, int]] = {}
        #: Events without an ``order`` of their own. Times may decrease: servers' clocks differ.
        self._unordered: set[tuple[str, str, float]] = set()

    def take(self, event: Event) -> bool:
        """Return whether an event is new; it is recorded as seen."""
        if event.verdict or event.type == "cancelling":
            before = len(self._unordered)
            self._unordered.add((event.task, event.type, event.at))
            return len(self._unordered) > before
        if event.order <= self._orders.get(event.task, (-1, -1, -1)):
            return False
        self._orders[event.task] = event.order
        return True
