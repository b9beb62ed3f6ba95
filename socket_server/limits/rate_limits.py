"""Limits per connection and per owner on what clients request. Pure, injected clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from bridge.settings import Settings
from socket_server.limits.counter import KeyedCounter
from socket_server.limits.token_bucket import Buckets
from socket_server.messages.requests import Refused
from socket_server.observability.metrics import hit

__all__ = ["RateLimits"]

#: Burst in seconds of the rate of requests: a page sends many when it is opened, then few.
BURST = 2.0
#: Burst in seconds of the rate of bytes; a single answer may have more.
BURST_OF_BYTES = 4.0
MINUTE = 60.0


class RateLimits:
    """Counts requests, bytes, jobs and connections; refuses with the protocol's error codes.

    Args:
        settings: the limits.
        clock: monotonic clock, in seconds.
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
        self._connected = KeyedCounter()

    def connect(self, owner: str | None) -> None:
        """Count a connection of an owner; nothing is counted for a token without an owner (None).

        Raises:
            Refused: the owner has too many connections.
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
        """Count a connection less."""
        if owner is not None:
            self._connected.leave(owner)

    def request(self, sid: str, owner: str | None) -> None:
        """Count a request.

        Raises:
            Refused: too many requests were sent, or too many bytes answered, of late.
        """
        counts = [("requests_per_second", self._of_connection, sid, 1.0)]
        # ``charge`` took the bytes of earlier answers; no tokens are taken, but none may be owed.
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
        """Count the cost of an answer, which is known only once it was composed.

        Args:
            sid: id of the connection.
            owner: owner that its token names; None for none.
            size: bytes, of the answer or of what was read to compose it.
        """
        self._bytes_of_connection.owe(sid, size)
        if owner is not None:
            self._bytes_of_owner.owe(owner, size)

    def enqueue(self, owner: str, unfinished: int) -> None:
        """Count a job that a client enqueues.

        Raises:
            Refused: the owner has enqueued too many of late, or has too many unfinished jobs.
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
        """Check that a connection may watch one more job.

        Args:
            watched: jobs that it watches already.

        Raises:
            Refused: it watches the maximum.
        """
        if watched >= self._settings.max_watched:
            hit("max_watched")
            raise Refused(
                "too_many_jobs", f"this connection watches {watched} jobs: unwatch one of them"
            )

    def prune(self) -> None:
        """Remove the token buckets of idle connections and owners."""
        counts = (self._of_connection, self._of_owner, self._enqueued)
        for buckets in (*counts, self._bytes_of_connection, self._bytes_of_owner):
            buckets.prune()


def too_many(what: str, wait: float) -> Refused:
    """Return a refusal with the seconds after which to try again."""
    wait = round(wait + 0.05, 1)
    return Refused("too_many_requests", f"{what}: try again in {wait:g} s", retry_after=wait)
