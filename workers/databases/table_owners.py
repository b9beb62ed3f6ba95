"""Whose the tables of a shared database are: a table that jobs made is its owner's alone."""

from __future__ import annotations

import contextlib

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from bridge.errors import InputError

__all__ = ["MAX_NAME", "TableOwners"]

#: Longest name of a table, in bytes of UTF-8; PostgreSQL would cut a longer one to another's.
MAX_NAME = 63
#: Longest owner, in characters.
MAX_OWNER = 255


class TableOwners:
    """The tables that one owner's jobs may fill.

    Args:
        engine: the database; the ledger of all owners is made in it where it is missing.
        owner: whose job is running; None if it is nobody's.
    """

    def __init__(self, engine: Engine, owner: str | None) -> None:
        self._owner = owner or ""
        self._ledger = _ledger(inspect(engine).default_schema_name)
        # Two jobs at once may both find none.
        with contextlib.suppress(DBAPIError), engine.begin() as connection:
            self._ledger.create(connection, checkfirst=True)

    def check(self, connection: Connection, name: str, *, exists: bool) -> None:
        """Return if a table is this owner's, or may become it.

        Args:
            exists: whether there is a table of that name.

        Raises:
            InputError: it is somebody else's.
        """
        owner = self._found(connection, name)
        if owner != self._owner and (exists or owner is not None):
            raise _taken(name)

    def claim(self, connection: Connection, name: str) -> bool:
        """Note that a new table is this owner's, in the transaction that makes it.

        Returns:
            Whether that was not noted before.

        Raises:
            InputError: another job makes one of that name at the same time.
        """
        if (owner := self._found(connection, name)) is not None:
            if owner != self._owner:
                raise _taken(name)  # by a job that was quicker
            return False
        try:
            connection.execute(insert(self._ledger), {"name": name, "owner": self._owner})
        except IntegrityError:
            raise _taken(name) from None
        return True

    def release(self, connection: Connection, name: str) -> None:
        """Forget a table that was not made after all."""
        connection.execute(delete(self._ledger).where(self._ledger.c.name == name))

    def _found(self, connection: Connection, name: str) -> str | None:
        ledger = self._ledger
        rows = connection.execute(select(ledger).where(ledger.c.name == name))
        # Some databases find names that only differ in case, which may be two tables.
        return next((str(row.owner) for row in rows if row.name == name), None)


def _taken(name: str) -> InputError:
    return InputError(f"The name of the table {name} is taken: choose another table.")


def _ledger(schema: str | None) -> Table:
    """Return the table of the tables that jobs made: all others are the operator's.

    Its owners are "" for nobody.
    """
    name = Column("name", String(MAX_NAME), primary_key=True)
    owner = Column("owner", String(MAX_OWNER), nullable=False)
    return Table("taskbridge_tables", MetaData(), name, owner, schema=schema)
