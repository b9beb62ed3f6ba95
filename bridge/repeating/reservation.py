"""``Reservation``: what is stored of an idempotency key; ``ReservationStore``: its place. Pure.

A key is reserved, with the id that its job will have, before the job is published, and marked once
the broker has the job. A process that dies in between leaves a reservation without the mark, which
another one takes over: it publishes the job under the same id.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple, Protocol

__all__ = ["Reservation", "ReservationStore", "digest_of", "key_of"]


class Reservation(NamedTuple):
    """A reserved key."""

    #: Id of the job.
    job: str
    #: Hash of the task and its arguments, by which another use of the key is recognised.
    digest: str
    #: Random name of the call that publishes the job; empty once that has failed.
    claim: str
    #: Whether the broker has the job.
    published: bool
    #: Seconds since the epoch at which the key was reserved, or claimed last, by the clock of the
    #: one that did it.
    at: float


class ReservationStore(Protocol):
    """Stores reservations. Each method is atomic, blocks, and raises if the store fails."""

    def reserve(self, key: str, new: Reservation) -> Reservation:
        """Store a reservation, unless the key has one; return the one that is stored then."""
        ...

    def find(self, key: str) -> Reservation | None:
        """Return the reservation of a key; None without one."""
        ...

    def claim(self, key: str, before: str, after: str, at: float) -> bool:
        """Replace the claim of an unmarked reservation, and its time.

        Args:
            key: the key.
            before: claim that is replaced.
            after: claim that takes its place.
            at: seconds since the epoch, by the clock of the caller.

        Returns:
            False, and nothing is changed, if the claim is not ``before``.
        """
        ...

    def mark(self, key: str, job: str) -> None:
        """Note that the broker has the job of a key."""
        ...


def key_of(use: str, *parts: str | None) -> str:
    """Return the key under which a reservation is stored: a hash, so of any characters.

    Args:
        use: what the key is for: keys of different uses are different ones.
        parts: the owner, and what the caller has chosen.
    """
    return hashlib.sha256(json.dumps([use, *parts]).encode()).hexdigest()


def digest_of(*parts: object) -> str:
    """Return the hash of a call: of a task or signature, and of its arguments."""
    text = json.dumps(parts, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()
