"""``Page``: some of the jobs that a client asks for, the newest first, and the place after them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from socket_server.messages.answer import Encoded

__all__ = ["LOOK", "MAX_NEXT", "MAX_PAGE", "Page", "Place", "decode_next", "encode_next"]

#: Longest position of a page, in characters: a number and a job's id.
MAX_NEXT = 300
#: Maximum bytes of JSON of the snapshots in a page.
MAX_PAGE = 30 * 1024
#: Bytes that a listing is charged for each job, and each task of a job, that it looks at.
LOOK = 64

#: Place of a job in lists: when it was enqueued, and its id.
Place = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs."""

    #: JSON of their snapshots, the newest job first.
    jobs: list[Encoded]
    #: Position of the next page; None if there is none.
    next: str | None
    #: Bytes that the listing is charged for what it has examined, beside those of the answer.
    cost: int
    #: Whether the archive did not answer, so that jobs which only it has are missing.
    archive_away: bool = False


def encode_next(place: Place) -> str:
    """Return a place as the opaque position of a page."""
    return f"{place[0]!r}:{place[1]}"


def decode_next(text: str) -> Place:
    """Return the place of a position.

    Raises:
        ValueError: it is not the ``next`` of a page.
    """
    at, colon, job = text.partition(":")
    if not (colon and job and math.isfinite(place := float(at))):
        raise ValueError("it is no place in a list of jobs")
    return place, job
