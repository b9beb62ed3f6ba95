"""``Change``: an event that was folded into the journal, and the job's snapshot after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bridge.protocol.event import Event
from bridge.protocol.json_types import JobEvent
from bridge.protocol.snapshot import Snapshot
from socket_server.messages.strict_json import encode

__all__ = ["Change", "Observer"]


class Change(dict[str, object]):
    """The JSON object of an event with its cursor, as clients get it; observers only read it.

    Args:
        encoded: the event, with its cursor.
        event: the event as it was published.
        snapshot: snapshot of the job; the journal's own, which the next event changes.
        ends: whether the job ends with the event.
        live: whether the event was published just now; False while a server replays the stream.
    """

    def __init__(
        self, encoded: JobEvent, event: Event, snapshot: Snapshot, *, ends: bool, live: bool
    ) -> None:
        super().__init__(encoded)
        self.event, self.snapshot, self.ends, self.live = event, snapshot, ends, live
        self._text = ""

    @property
    def text(self) -> str:
        """JSON of the event; encoded at the first use, and once for all clients."""
        if not self._text:  # functools.cached_property takes a lock before Python 3.12
            self._text = encode(self)
        return self._text


#: Called with each change while the state lock is held; returns events that the server sends as a
#: consequence.
Observer = Callable[[Change], Iterable[Event]]
