"""How much one client, one owner, one address may ask of a server. Pure, injected clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.settings import Settings
from socket_server.limits.counter import Tally
from socket_server.limits.token_bucket import Buckets
from socket_server.messages.requests import Refused
from socket_server.observability.metrics import hit

__all__ = ["Limits"]

#: Seconds of its rate that may be used up at once: a page that is opened asks much, then little.
BURST = 2.0
#: Seconds of its rate of bytes that may be used up at once; a single answer may take more.
BURST_OF_BYTES = 4.0
MINUTE = 60.0


class Limits:
    """Counts, and refuses with the protocol's error codes.

    Args:
        settings: the limits.
        clock: seconds, monotonic.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        connection, owner = settings.requests_per_second, settings.owner_requests_per_second
        self._of_connection = Buckets(connection, max(1.0, BURST * connection), clock)
        self._of_owner = Buckets(owner, max(1.0, BURST * owner), clock)
        size, owner_size = settings.answer_bytes_per_second, settings.owner_answer_bytes_per_second
        self._bytes_of_connection = Buckets(size, BURST_OF_BYTES * size, clock)
        self._bytes_of_owner = Buckets(owner_size, BURST_OF_BYTES * owner_size, clock)
        minutely = settings.enqueues_per_minute
        self._enqueued = Buckets(minutely / MINUTE, max(1.0, minutely), clock)
        self._connected = Tally()

    def connect(self, owner: str | None) -> None:
        """Count a connection of an owner; one whose token names only jobs has none to count for.

        Raises:
            Refused: the owner has too many.
        """
        if owner is None:
            return
        if self._connected[owner] >= self._settings.max_connections_per_owner:
            hit("max_connections_per_owner")
            raise Refused(
                "too_many_connections", "this owner has too many connections: close one of them"
            )
        self._connected.enter(owner)

    def disconnect(self, owner: str | None) -> None:
        """Count a connection no more."""
        if owner is not None:
            self._connected.leave(owner)

    def request(self, sid: str, owner: str | None) -> None:
        """Count a request.

        Raises:
            Refused: there were too many of late.
        """
        counts = [("requests_per_second", self._of_connection, sid, 1.0)]
        # These were charged with what the answers before took; now they are not to be in debt.
        counts.append(("answer_bytes_per_second", self._bytes_of_connection, sid, 0.0))
        if owner is not None:
            counts.append(("owner_requests_per_second", self._of_owner, owner, 1.0))
            counts.append(("owner_answer_bytes_per_second", self._bytes_of_owner, owner, 0.0))
        for name, buckets, key, tokens in counts:
            if wait := buckets.take(key, tokens):
                hit(name)
                what = "too many requests" if tokens else "too many bytes were asked for"
                raise too_many(what, wait)

    def charge(self, sid: str, owner: str | None, size: float) -> None:
        """Count what an answer cost, which is known only once it was made.

        Args:
            sid: of the connection.
            owner: whose it is; None for nobody's.
            size: bytes of the answer, and of what had to be looked at for it.
        """
        self._bytes_of_connection.owe(sid, size)
        if owner is not None:
            self._bytes_of_owner.owe(owner, size)

    def enqueue(self, owner: str, unfinished: int) -> None:
        """Count a job that an owner's client wants.

        Raises:
            Refused: it wanted too many of late, or too many are unfinished.
        """
        if unfinished >= self._settings.max_unfinished:
            hit("max_unfinished")
            raise Refused(
                "too_many_jobs", f"{unfinished} jobs are unfinished: wait until one has ended"
            )
        if wait := self._enqueued.take(owner):
            hit("enqueues_per_minute")
            raise too_many("too many jobs were enqueued", wait)

    def watch(self, watched: int) -> None:
        """See whether a connection may watch one more job.

        Raises:
            Refused: it watches too many.
        """
        if watched >= self._settings.max_watched:
            hit("max_watched")
            raise Refused(
                "too_many_jobs", f"this connection watches {watched} jobs: unwatch one of them"
            )

    def prune(self) -> None:
        """Forget who asked nothing for a while."""
        counts = (self._of_connection, self._of_owner, self._enqueued)
        for buckets in (*counts, self._bytes_of_connection, self._bytes_of_owner):
            buckets.prune()


def too_many(what: str, wait: float) -> Refused:
    """Return a refusal that says when to come back."""
    wait = round(wait + 0.05, 1)
    return Refused("too_many_requests", f"{what}: try again in {wait:g} s", retry_after=wait)
