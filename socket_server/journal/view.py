"""``View``: the answer to a client that begins, or continues, to watch a job."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from bridge.protocol.json_types import JobEvent
from bridge.protocol.snapshot import Snapshot
from socket_server.messages.answer import Body, Encoded
from socket_server.messages.excerpt import Excerpt
from socket_server.messages.strict_json import encode

__all__ = ["MAX_VERDICTS", "View", "verdict_texts"]

#: Maximum bytes of JSON of the verdicts that come with a snapshot.
MAX_VERDICTS = 4 * 1024


@dataclass(frozen=True, slots=True)
class View:
    """The answer to a client that begins, or continues, to watch a job."""

    #: JSON of the snapshot.
    snapshot: Encoded
    #: Events that are held after the client's cursor; all held ones if ``recovered`` is False.
    excerpt: Excerpt
    #: JSON of verdicts that no later event has overturned.
    verdicts: list[str]
    #: Whether all events after the client's cursor are held.
    recovered: bool
    #: Cursor of the newest event that must be delivered.
    cursor: str

    def encode(self, **more: object) -> Body:
        """Return the answer of ``watch``, with more fields; its events can be read once."""
        fields = {"snapshot": self.snapshot, "recovered": self.recovered, "cursor": self.cursor}
        return Body({**more, **fields}, self.excerpt, self.verdicts)

    @property
    def events(self) -> list[JobEvent]:
        """All events, decoded; they can be read once."""
        return [*self.excerpt.events(), *map(json.loads, self.verdicts)]


def verdict_texts(snapshot: Snapshot, cursor: str) -> list[str]:
    """Return JSON of the verdicts not overturned, as many as fit in ``MAX_VERDICTS`` bytes."""
    texts, left = [], MAX_VERDICTS
    for verdict in snapshot.verdicts(time.time()):
        text = encode({**verdict.encode(), "cursor": cursor})
        left -= len(text)
        if left < 0:
            break
        texts.append(text)
    return texts
