"""``Staging``: rows on their way into a table, kept with their number until all are there.

Rows are committed batch by batch into a table of the job's own, each batch in one transaction with
the number of rows so far. So the next attempt knows exactly which rows are in, and goes on there.
An attempt that was frozen, and goes on after another has taken over, can add nothing any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence

from celery.exceptions import Ignore
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Engine,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from bridge import JobCancelled
from workers.databases.sql_target import transaction
from workers.running import settings_here

__all__ = ["Staging", "Superseded", "is_done", "staging"]

#: Beginning of the names of tables of rows on their way, and the table of their numbers.
PREFIX, NUMBERS = "taskbridge_part_", "taskbridge_imports"
#: In place of an attempt, where all rows are in the table that they are for.
DONE = "done"
#: What the order of insertion is called.
ORDER = {"sqlite": "rowid", "postgresql": "ctid"}
#: Milliseconds after which PostgreSQL ends the transaction of an attempt that is frozen in it.
IDLE = 10_000

#: Makes a table with that name, for the rows.
Maker = Callable[[str], Table]


class Superseded(Ignore):
    """Another attempt of the task goes on with its work: this one ends, and stores no result."""


class Staging:
    """The rows that are in so far.

    Args:
        engine: the database.
        table: the table that they are in.
        numbers: the table of the numbers of rows.
        attempt: what tells this attempt from others.
        rows: how many rows are in.
    """

    def __init__(
        self, engine: Engine, table: Table, numbers: Table, attempt: str, rows: int
    ) -> None:
        self._engine, self.table, self._numbers = engine, table, numbers
        self._attempt, self.rows = attempt, rows
        #: Whether an earlier attempt has moved all rows, and died before its end was known.
        self.done = attempt == DONE

    def add(self, count: int, add: Callable[[Connection], object]) -> None:
        """Add rows, all or none.

        Args:
            count: how many.
            add: inserts them.

        Raises:
            Superseded: another attempt has taken over.
        """
        with self.own() as connection:
            numbers = self._numbers
            mine = (numbers.c.name == self.table.name, numbers.c.attempt == self._attempt)
            change = update(numbers).where(*mine)
            connection.execute(change.values(rows=self.rows + count, at=time.time()))
            add(connection)
        self.rows += count

    @contextlib.contextmanager
    def own(self, undo: Sequence[Callable[[Connection], object]] = ()) -> Iterator[Connection]:
        """Give a transaction in which no other attempt takes over.

        Args:
            undo: see :func:`transaction`.

        Raises:
            Superseded: another attempt has taken over.
        """
        numbers = self._numbers
        with transaction(self._engine, undo) as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {IDLE}"))
            mine = (numbers.c.name == self.table.name, numbers.c.attempt == self._attempt)
            held = connection.execute(update(numbers).where(*mine).values(at=time.time()))
            if not held.rowcount:
                raise Superseded
            yield connection

    def move(self, connection: Connection, table: Table, columns: Sequence[object]) -> None:
        """Insert all rows into a table, in their order, and remove this one; note that it is done.

        Args:
            connection: of :meth:`own`.
            table: the table.
            columns: what is inserted, of this table's columns.
        """
        rows = select(*columns)  # type: ignore[call-overload]
        if order := ORDER.get(self._engine.dialect.name):
            rows = rows.order_by(literal_column(order))
        connection.execute(insert(table).inline().from_select(list(table.c), rows))
        done = update(self._numbers).where(self._numbers.c.name == self.table.name)
        connection.execute(done.values(attempt=DONE))
        self.table.drop(connection, checkfirst=True)

    def remove(self, connection: Connection) -> None:
        """Remove the rows."""
        connection.execute(delete(self._numbers).where(self._numbers.c.name == self.table.name))
        self.table.drop(connection, checkfirst=True)


@contextlib.contextmanager
def staging(engine: Engine, schema: str | None, work: str, maker: Maker) -> Iterator[Staging]:
    """Take over the rows of earlier attempts of a work, for the time of a ``with`` block.

    They are removed if the block raises an ``Exception`` or ``JobCancelled``, and stay if its
    process is told to exit.

    Args:
        engine: the database.
        schema: schema of the tables.
        work: what all attempts of the work have in common, and no other work has.
        maker: makes the table for the rows.
    """
    numbers = _numbers(schema)
    # Two jobs at once may both try to create it.
    with contextlib.suppress(DBAPIError), engine.begin() as connection:
        numbers.create(connection, checkfirst=True)
    taken = _taken_over(engine, numbers, work, maker)
    try:
        yield taken
    except Superseded:
        raise
    except (Exception, JobCancelled):
        with contextlib.suppress(Superseded, DBAPIError), taken.own() as connection:
            taken.remove(connection)
        raise


def is_done(engine: Engine, schema: str | None, work: str) -> bool:
    """Whether an earlier attempt of a work has moved all rows into their table."""
    numbers = _numbers(schema)
    if not inspect(engine).has_table(numbers.name, schema=schema):
        return False
    with engine.connect() as connection:
        found = select(numbers.c.attempt).where(numbers.c.name == _name(work))
        return connection.execute(found).scalar() == DONE


def _name(work: str) -> str:
    return PREFIX + hashlib.sha256(work.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _taken_over(engine: Engine, numbers: Table, work: str, maker: Maker) -> Staging:
    name = _name(work)
    attempt, table = secrets.token_hex(8), maker(name)
    with transaction(engine, ()) as connection:
        _sweep(connection, numbers)
        found = select(numbers.c.rows).where(numbers.c.name == name)
        rows = connection.execute(found).scalar()
        values = {"attempt": attempt, "at": time.time()}
        if connection.execute(found.where(numbers.c.attempt == DONE)).scalar() is not None:
            attempt = DONE
        elif rows is None:
            table.drop(connection, checkfirst=True)  # made by an attempt that died at once
            table.create(connection)
            connection.execute(insert(numbers).inline().values(name=name, rows=0, **values))
        else:
            connection.execute(update(numbers).where(numbers.c.name == name).values(**values))
            # Again: the attempt before may have added rows until then.
            rows = connection.execute(found).scalar()
    return Staging(engine, table, numbers, attempt, rows or 0)


def _sweep(connection: Connection, numbers: Table) -> None:
    """Remove the rows of works of which no attempt ran for as long as checkpoints are kept."""
    old = numbers.c.at < time.time() - settings_here().checkpoint_retention
    for (name,) in connection.execute(select(numbers.c.name).where(old)).all():
        Table(name, MetaData(), schema=numbers.schema).drop(connection, checkfirst=True)
        connection.execute(delete(numbers).where(numbers.c.name == name, old))


def _numbers(schema: str | None) -> Table:
    return Table(
        NUMBERS,
        MetaData(),
        Column("name", String(63), primary_key=True),
        Column("rows", BigInteger, nullable=False),
        Column("attempt", String(16), nullable=False),
        Column("at", Double, nullable=False),
        schema=schema,
    )
