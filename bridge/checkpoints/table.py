"""``DatabaseStore``: checkpoints in a table of the database that Celery stores results in."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from bridge.checkpoints.records import MAX_BODY, Fences, Record, Taken
from bridge.untyped import ResultBackend

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Engine, Table

__all__ = ["DatabaseStore", "checkpoint_table", "engine_of"]

#: Longest key, in characters: an id, and a suffix.
MAX_KEY = 300
#: Bytes for which a column of text has room on MySQL, where 64 KiB are the default.
ROOM = 1 << 20
#: How often a step is tried again because another process has changed the row meanwhile.
TRIES = 20
#: Seconds between two removals of old rows by one process.
SWEEP = 3600.0

#: Time of the last removal of old rows, by process and database URL. Each has its table.
_swept: dict[tuple[int, str], float] = {}


class DatabaseStore:
    """A row for each task, in the table ``taskbridge_checkpoints``, which is made if it is missing.

    Rows that were stored more than ``retention`` seconds ago, by the clock of the worker that
    stores, are removed once an hour.
    """

    def __init__(self, backend: ResultBackend, retention: float) -> None:
        self._engine = engine_of(backend)
        self._table = checkpoint_table(backend.task_cls.__table__.schema)
        self._prepare(str(backend.url), retention)

    def _prepare(self, url: str, retention: float) -> None:
        import sqlalchemy as sa

        now = time.time()
        if (swept := _swept.get((os.getpid(), url))) is None:
            # Two processes at once may both try to create it.
            with suppress(sa.exc.DBAPIError):
                self._table.create(self._engine, checkfirst=True)
        elif now - swept < SWEEP:
            return
        old = self._table.c.stored_at < now - retention
        with self._engine.begin() as connection:
            connection.execute(sa.delete(self._table).where(old))
        _swept[os.getpid(), url] = now

    def save(self, key: str, record: Record) -> bool:
        """Store a record; see :class:`Store`."""
        import sqlalchemy as sa

        fence, seq = self._table.c.fence, self._table.c.seq
        older = sa.or_(fence < record.fence, sa.and_(fence == record.fence, seq < record.seq))
        values = {"fence": record.fence, "seq": record.seq, "body": record.body}
        if self._update(key, older, values) or self._insert(key, values):
            return True
        # The row is there: a newer attempt's, a newer record of this one, or one just inserted.
        return bool(self._update(key, older, values) or self._found(key)[0] == record.fence)

    def take_over(self, key: str, fences: Fences) -> Taken | None:
        """Raise the fence; see :class:`Store`."""
        for _ in range(TRIES):
            known, seq, body = self._found(key)
            if known >= fences.newer:
                return None
            fence = max(known + 1, fences.least)
            same = (self._table.c.fence == known) & (self._table.c.seq == seq)
            values = {"fence": fence, "seq": 0}
            there = known >= 0
            if self._update(key, same, values) if there else self._insert(key, values):
                return Taken(fence, body)
        raise TimeoutError("the row of a checkpoint is changed again and again")

    def peek(self, key: str) -> str | None:
        """Return the stored body; see :class:`Store`."""
        return self._found(key)[2]

    def clear(self, key: str, fence: int, *, first: bool) -> None:
        """Remove the state; see :class:`Store`."""
        import sqlalchemy as sa

        mine = self._table.c.fence <= fence
        if not first:
            self._update(key, mine, {"body": None})
            return
        with self._engine.begin() as connection:
            connection.execute(sa.delete(self._table).where(self._table.c.task == key, mine))

    def _update(self, key: str, where: ColumnElement[bool], values: Mapping[str, object]) -> bool:
        import sqlalchemy as sa

        change = sa.update(self._table).where(self._table.c.task == key, where)
        with self._engine.begin() as connection:
            return connection.execute(change.values(stored_at=time.time(), **values)).rowcount > 0

    def _insert(self, key: str, values: Mapping[str, object]) -> bool:
        import sqlalchemy as sa

        row = {"task": key, "body": None, "stored_at": time.time(), **values}
        with suppress(sa.exc.IntegrityError), self._engine.begin() as connection:
            connection.execute(sa.insert(self._table).inline().values(row))
            return True
        return False

    def _found(self, key: str) -> tuple[int, int, str | None]:
        """Return fence, number and body of a row; a fence of -1 without one."""
        import sqlalchemy as sa

        table = self._table
        short = sa.case((sa.func.length(table.c.body) <= MAX_BODY, table.c.body))
        query = sa.select(table.c.fence, table.c.seq, short).where(table.c.task == key)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return (-1, 0, None) if row is None else (row[0], row[1], row[2])


#: Engine by process and URL of the database.
_engines: dict[tuple[int, str], Engine] = {}


def engine_of(backend: ResultBackend) -> Engine:
    """Return an engine that keeps a connection; for SQLite, one of Celery's, which keeps none.

    Celery's connects anew for each statement of a thread, which takes longer than the statement.
    """
    import sqlalchemy as sa

    key = os.getpid(), str(backend.url)
    if key not in _engines and sa.make_url(backend.url).get_backend_name() == "sqlite":
        # Celery makes one at each call, which takes longer than a statement.
        options = backend.engine_options
        _engines[key] = backend.session_manager.get_engine(backend.url, **options)
    if key not in _engines:
        # More than one connection where a call does not return, and another thread takes over.
        own = {"pool_size": 1, "max_overflow": 8, "pool_pre_ping": True, "hide_parameters": True}
        given = {name: it for name, it in backend.engine_options.items() if name[:4] != "pool"}
        _engines[key] = sa.create_engine(backend.url, **{**given, **own})
    return _engines[key]


def _forget_engines() -> None:
    """Forget the connections of the parent in a forked child, and leave them open."""
    for engine in _engines.values():
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_engines)


@functools.cache
def checkpoint_table(schema: str | None = None) -> Table:
    """Return the table.

    Args:
        schema: schema of the database; default the login's own.
    """
    import sqlalchemy as sa

    return sa.Table(
        "taskbridge_checkpoints",
        sa.MetaData(),
        sa.Column("task", sa.String(MAX_KEY), primary_key=True),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text().with_variant(sa.Text(ROOM), "mysql", "mariadb")),
        sa.Column("stored_at", sa.Double, nullable=False, index=True),
        schema=schema,
    )
