"""``Change``: what one event has changed in the journal."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from bridge.protocol.event import Event, finite_json
from bridge.protocol.snapshot import Snapshot

__all__ = ["TALK", "Change", "Observer"]

#: Types of events that do not change the state of a task.
TALK = frozenset({"progress", "log", "output"})


class Change(dict[str, Any]):
    """The JSON object of an event with its cursor, as clients get it; observers only read it.

    Args:
        encoded: the event, with its cursor.
        event: the event as it was published.
        snapshot: the job after it; the journal's own, which the next event changes.
        ends: whether the job ends with it.
        live: whether it was published just now; False while a server replays the stream.
    """

    def __init__(
        self, encoded: dict[str, Any], event: Event, snapshot: Snapshot, *, ends: bool, live: bool
    ) -> None:
        super().__init__(encoded)
        self.event, self.snapshot, self.ends, self.live = event, snapshot, ends, live

    @cached_property
    def text(self) -> str:
        """Its JSON, encoded once however many clients get it."""
        return finite_json(self)


#: Called with each change, in the server's state lock; returns events of the server's own that
#: follow from it.
Observer = Callable[[Change], Iterable[Event]]
