"""Counters of a server, plain numbers because every event changes some of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counters"]


@dataclass(slots=True)
class Counters:
    """Counts since the start of the server."""

    #: Events read from the bus.
    read: int = 0
    #: Of those, duplicates, and events of a run after a newer run of its task has begun.
    stale: int = 0
    #: Copies of events put into clients' send queues.
    delivered: int = 0
    #: Copies that a newer event of the same task and type replaced in a send queue.
    conflated: int = 0
    #: Packets dropped from the send queues of clients that did not keep up.
    dropped: int = 0
    #: Seconds from an event to its reading, corrected by clock skew; newest event with such a time.
    lag: float = 0.0
