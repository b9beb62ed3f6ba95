"""What went through a server, in plain numbers: each event changes some of them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Flow"]


@dataclass(slots=True)
class Flow:
    """Counts since the start of a server."""

    #: Events that came over the bus.
    read: int = 0
    #: Of those, the duplicates, and what an older run said after a newer one had begun.
    stale: int = 0
    #: Copies of events that were handed to clients' queues.
    delivered: int = 0
    #: Of those, the ones that a newer one of the same bar replaced while they waited.
    conflated: int = 0
    #: Of those, the ones that were let go with a client that did not keep up.
    dropped: int = 0
    #: Seconds that the newest event which says by whom it was sent had taken until it was read.
    lag: float = 0.0
