"""``Deliveries``: the queue of deliveries in the archive's database, that of one channel."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import ColumnElement, Engine, bindparam, delete, func, select, update

from socket_server.archive.finding.kept import kept
from socket_server.archive.schema import DELIVERIES, Row

__all__ = ["Deliveries", "Delivery", "Result", "Waiting"]


class Delivery(NamedTuple):
    """A delivery that is to be attempted."""

    #: Id of the message.
    id: str
    #: Id of the job, as it is in the tables.
    job: str
    webhook: str
    #: When it was queued, in seconds since the epoch.
    at: float
    #: Attempts so far.
    attempts: int
    #: What is sent, as text in ASCII.
    body: str


class Result(NamedTuple):
    """What an attempt has changed of a delivery."""

    id: str
    attempts: int
    #: Why it failed; None if it did not.
    failure: str | None
    #: When it is attempted again; None if it is over. In seconds since the epoch, as all times.
    due: float | None
    delivered_at: float | None


class Waiting(NamedTuple):
    """The deliveries of a webhook that are not over."""

    number: int
    #: When the oldest was queued.
    since: float


class Deliveries:
    """Reads and changes the queue.

    Args:
        engine: engine of the database, whose tables are up to date.
        channel: channel of the jobs.
    """

    def __init__(self, engine: Engine, channel: str) -> None:
        self._engine, self._channel = engine, channel
        which = update(DELIVERIES).where(DELIVERIES.c.id == bindparam("which"))
        told = which.values(attempts=bindparam("made"), failure=bindparam("reason"))
        self._put_off = told.values(due=bindparam("then"))
        self._end = told.values(due=None, delivered_at=bindparam("then"), body="")

    def due(self, webhook: str, now: float, most: int) -> list[Delivery]:
        """Return deliveries of a webhook that are due, those that are due for longest first."""
        return self._select(DELIVERIES.c.webhook == kept(webhook), now, most)

    def unnamed(self, known: Collection[str], now: float, most: int) -> list[Delivery]:
        """Return deliveries that are due of webhooks with other names than the known ones."""
        return self._select(DELIVERIES.c.webhook.not_in(list(map(kept, known))), now, most)

    def _select(self, which: ColumnElement[bool], now: float, most: int) -> list[Delivery]:
        columns = (DELIVERIES.c[name] for name in Delivery._fields)
        wanted = select(*columns).where(DELIVERIES.c.channel == self._channel, which)
        wanted = wanted.where(DELIVERIES.c.due <= now).order_by(DELIVERIES.c.due).limit(most)
        with self._engine.connect().execution_options(reads=True) as connection:
            return [Delivery._make(row) for row in connection.execute(wanted)]

    def waiting(self) -> dict[str, Waiting]:
        """Return how many deliveries are not over, by webhook."""
        wanted = select(DELIVERIES.c.webhook, func.count(), func.min(DELIVERIES.c.at))
        wanted = wanted.where(DELIVERIES.c.channel == self._channel, DELIVERIES.c.due.is_not(None))
        with self._engine.connect().execution_options(reads=True) as connection:
            found = connection.execute(wanted.group_by(DELIVERIES.c.webhook)).all()
        return {webhook: Waiting(count, since) for webhook, count, since in found}

    def record(self, results: Iterable[Result]) -> None:
        """Write what attempts have changed, in one transaction."""
        over, again = [], []
        for one in results:
            row: Row = {"which": one.id, "made": one.attempts, "reason": one.failure}
            if one.due is None:
                over.append({**row, "then": one.delivered_at})
            else:
                again.append({**row, "then": one.due})
        with self._engine.begin() as connection:
            if over:
                connection.execute(self._end, over)
            if again:
                connection.execute(self._put_off, again)

    def forget(self, before: float) -> None:
        """Remove deliveries that are over and were queued before a time."""
        old = DELIVERIES.c.channel == self._channel, DELIVERIES.c.at < before
        with self._engine.begin() as connection:
            connection.execute(delete(DELIVERIES).where(*old, DELIVERIES.c.due.is_(None)))
