"""Ownership of tables in a shared database: only jobs of its owner may write a table."""

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

#: Longest name of a table, in bytes of UTF-8. PostgreSQL cuts longer ones, maybe to the same.
MAX_NAME = 63
#: Longest name of an owner, in characters.
MAX_OWNER = 255


class TableOwners:
    """The tables that one owner's jobs may fill.

    Args:
        engine: the database, in which a ledger of all tables and owners is made if it is missing.
        owner: owner of the running job; None if it has none.
    """

    def __init__(self, engine: Engine, owner: str | None) -> None:
        self._owner = owner or ""
        self._ledger = _ledger(inspect(engine).default_schema_name)
        # Two jobs at once may both try to create it.
        with contextlib.suppress(DBAPIError), engine.begin() as connection:
            self._ledger.create(connection, checkfirst=True)

    def check(self, connection: Connection, name: str, *, exists: bool) -> None:
        """Check that a table belongs to this owner, or that its name is free.

        Args:
            connection: connection to the database.
            name: name of the table.
            exists: whether there is a table of that name.

        Raises:
            InputError: the name belongs to another owner, or the table to the operator.
        """
        owner = self._found(connection, name)
        if owner != self._owner and (exists or owner is not None):
            raise _taken(name)

    def claim(self, connection: Connection, name: str) -> bool:
        """Record this owner of a table, in the transaction that writes the table.

        Returns:
            Whether the owner was recorded only now.

        Raises:
            InputError: a job of another owner claims the name at the same time.
        """
        if (owner := self._found(connection, name)) is not None:
            if owner != self._owner:
                raise _taken(name)  # another job was quicker
            return False
        try:
            connection.execute(insert(self._ledger), {"name": name, "owner": self._owner})
        except IntegrityError:
            raise _taken(name) from None
        return True

    def release(self, connection: Connection, name: str) -> None:
        """Remove the record of a table that was not made after all."""
        connection.execute(delete(self._ledger).where(self._ledger.c.name == name))

    def _found(self, connection: Connection, name: str) -> str | None:
        ledger = self._ledger
        rows = connection.execute(select(ledger).where(ledger.c.name == name))
        # Some databases also find names that differ in case, which may be of two tables.
        return next((str(row.owner) for row in rows if row.name == name), None)


def _taken(name: str) -> InputError:
    return InputError(f"The name of the table {name} is taken: choose another table.")


def _ledger(schema: str | None) -> Table:
    """Return the ledger: the table of all tables that jobs made; all others are the operator's.

    The owner "" stands for jobs without an owner.
    """
    name = Column("name", String(MAX_NAME), primary_key=True)
    owner = Column("owner", String(MAX_OWNER), nullable=False)
    return Table("taskbridge_tables", MetaData(), name, owner, schema=schema)
