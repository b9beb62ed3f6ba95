"""``Page``: some of an owner's jobs, the newest first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter

from bridge.protocol.snapshot import Snapshot
from socket_server.messages.answer import Encoded

__all__ = ["MAX_PAGE", "Page", "page_of"]

#: Maximum bytes of JSON of the snapshots in a page.
MAX_PAGE = 30 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """Some of an owner's jobs."""

    #: JSON of their snapshots, the newest job first.
    jobs: list[Encoded]
    #: Position of the next page; None if there is none.
    next: str | None
    #: Number of jobs that were examined.
    looked: int


def page_of(
    snapshots: Iterable[Snapshot],
    encode: Callable[[Snapshot], Encoded],
    *,
    limit: int,
    state: str | None = None,
    after: str | None = None,
) -> Page:
    """Return a page of jobs, the newest first, as many as fit in ``MAX_PAGE`` bytes.

    Args:
        snapshots: snapshots of all jobs of an owner.
        encode: returns a snapshot as JSON.
        limit: maximum number of jobs.
        state: state of the jobs; None for any.
        after: ``next`` of the previous page; None for the first page.

    Raises:
        ValueError: ``after`` is not the ``next`` of a page.
    """
    beyond = _decode_next(after) if after is not None else None
    held = [(one.queued_at or one.at, one.job, one) for one in snapshots]
    held.sort(key=itemgetter(0, 1), reverse=True)
    listed: list[Encoded] = []
    left, last = MAX_PAGE, None
    for at, job, one in held:
        if beyond is not None and (at, job) >= beyond:
            continue
        if state is not None and one.state != state:
            continue
        text = encode(one)
        left -= len(text) + 1
        if listed and (left < 0 or len(listed) == limit):
            return Page(listed, _encode_next(last), len(held))
        listed.append(text)
        last = at, job
    return Page(listed, None, len(held))


def _encode_next(place: tuple[float, str] | None) -> str | None:
    return None if place is None else f"{place[0]!r}:{place[1]}"


def _decode_next(text: str) -> tuple[float, str]:
    at, colon, job = text.partition(":")
    if not (colon and job and math.isfinite(place := float(at))):
        raise ValueError("it is no place in a list of jobs")
    return place, job
