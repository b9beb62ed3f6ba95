"""``DatabaseReservations``: reserved keys in a table of the database of Celery's results."""

from __future__ import annotations

import functools
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from bridge.checkpoints.table import engine_of
from bridge.repeating.reservation import Reservation
from bridge.untyped import ResultBackend

if TYPE_CHECKING:
    from sqlalchemy import Table

__all__ = ["DatabaseReservations", "reservation_table"]

#: Longest id of a job, in characters.
MAX_JOB = 255
#: How often a step is tried again because another process has changed the row meanwhile.
TRIES = 20
#: Seconds between two removals of old rows by one process.
SWEEP = 3600.0

#: Time of the last removal of old rows, by process and database URL.
_swept: dict[tuple[int, str], float] = {}


class DatabaseReservations:
    """A row for each key, in the table ``taskbridge_reservations``, which is made if it is missing.

    A row that is older than ``retention`` seconds, by the clock of the process that reads it,
    counts as missing; such rows are removed once an hour.
    """

    def __init__(self, backend: ResultBackend, retention: float) -> None:
        self._engine, self._retention = engine_of(backend), retention
        self._table = reservation_table(backend.task_cls.__table__.schema)
        self._prepare(str(backend.url))

    def _prepare(self, url: str) -> None:
        import sqlalchemy as sa

        now = time.time()
        if (swept := _swept.get((os.getpid(), url))) is None:
            # Two processes at once may both try to create it.
            with suppress(sa.exc.DBAPIError):
                self._table.create(self._engine, checkfirst=True)
        elif now - swept < SWEEP:
            return
        with self._engine.begin() as connection:
            connection.execute(sa.delete(self._table).where(self._table.c.at < self._horizon))
        _swept[os.getpid(), url] = now

    @property
    def _horizon(self) -> float:
        return time.time() - self._retention

    def reserve(self, key: str, new: Reservation) -> Reservation:
        """Store a reservation; see :class:`ReservationStore`."""
        import sqlalchemy as sa

        for _ in range(TRIES):
            old = (self._table.c.id == key) & (self._table.c.at < self._horizon)
            with suppress(sa.exc.IntegrityError), self._engine.begin() as connection:
                connection.execute(sa.delete(self._table).where(old))
                connection.execute(sa.insert(self._table).values(id=key, **new._asdict()))
                return new
            if (found := self.find(key)) is not None:
                return found
        raise TimeoutError("the row of an idempotency key is changed again and again")

    def find(self, key: str) -> Reservation | None:
        """Return the reservation of a key; see :class:`ReservationStore`."""
        import sqlalchemy as sa

        columns = [self._table.c[name] for name in Reservation._fields]
        query = sa.select(*columns).where(
            self._table.c.id == key, self._table.c.at >= self._horizon
        )
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else Reservation(*row)

    def claim(self, key: str, before: str, after: str, at: float) -> bool:
        """Replace the claim and its time; see :class:`ReservationStore`."""
        import sqlalchemy as sa

        change = sa.update(self._table).where(
            self._table.c.id == key,
            self._table.c.published.is_(False),
            self._table.c.claim == before,
        )
        with self._engine.begin() as connection:
            return connection.execute(change.values(claim=after, at=at)).rowcount > 0

    def mark(self, key: str, job: str) -> None:
        """Note that the job is published; see :class:`ReservationStore`."""
        import sqlalchemy as sa

        mine = (self._table.c.id == key) & (self._table.c.job == job)
        with self._engine.begin() as connection:
            connection.execute(sa.update(self._table).where(mine).values(published=True))


@functools.cache
def reservation_table(schema: str | None = None) -> Table:
    """Return the table.

    Args:
        schema: schema of the database; default the login's own.
    """
    import sqlalchemy as sa

    return sa.Table(
        "taskbridge_reservations",
        sa.MetaData(),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("job", sa.String(MAX_JOB), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("claim", sa.String(32), nullable=False),
        sa.Column("published", sa.Boolean, nullable=False),
        sa.Column("at", sa.Double, nullable=False, index=True),
        schema=schema,
    )
