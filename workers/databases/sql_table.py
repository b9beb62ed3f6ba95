"""A table of an SQL database that rows are inserted into: new, replaced or appended to."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, get_args

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    cast,
    inspect,
)

from bridge.errors import InputError
from workers.databases.column_types import TEXT, Kind
from workers.databases.filling import Filling
from workers.databases.staging import Staging, is_done, staging
from workers.databases.table_owners import MAX_NAME, TableOwners

__all__ = ["IfExists", "SqlTable", "identifier"]

IfExists = Literal["fail", "append", "replace"]


def identifier(text: str) -> str:
    """Return a name for a table that needs no quotes in SQL."""
    name = re.sub(r"\W+", "_", text).strip("_").lower() or "data"
    name = f"t_{name}" if name[0].isdigit() else name
    return name.encode()[:MAX_NAME].decode("utf-8", "ignore")


def check_name(name: object) -> None:
    """Check that a value can be the name of a table.

    Raises:
        InputError: it cannot be one.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise InputError("The table must be a name that is not empty: correct it.")
    if len(name.encode("utf-8", "replace")) > MAX_NAME or not name.isprintable():
        raise InputError(
            f"The name of the table must be printable text of at most {MAX_NAME} bytes: correct it."
        )


class SqlTable:
    """A table to fill.

    Args:
        engine: the database.
        name: name of the table.
        if_exists: what to do with an existing table of that name: ``fail``, ``append`` or
            ``replace``.
        work: what all attempts of the job have in common: a later one goes on with the rows of an
            earlier one.
        owners: owners of the tables in the database; None if all are the job's own.

    Raises:
        InputError: the name or ``if_exists`` is not valid, the table exists and ``if_exists`` is
            ``fail``, or the table belongs to another owner.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        if_exists: IfExists,
        work: str,
        owners: TableOwners | None = None,
    ) -> None:
        check_name(name)
        if not isinstance(if_exists, str) or if_exists not in get_args(IfExists):
            raise InputError("The value of if_exists must be fail, append or replace: correct it.")
        self.name = name
        self._engine, self._owners, self._if_exists = engine, owners, if_exists
        # Without a schema, PostgreSQL would look among its own tables (pg_class) first.
        self._schema = inspect(engine).default_schema_name
        self._work, self._done = work, is_done(engine, self._schema, work)
        with engine.connect() as connection:
            self._exists = self._looked_up(connection)

    @property
    def _append(self) -> bool:
        return self._exists and self._if_exists == "append"

    def _looked_up(self, connection: Connection) -> bool:
        """Return whether the table exists.

        Raises:
            InputError: it exists and may not be written, or its name belongs to another owner.
        """
        exists = bool(inspect(connection).has_table(self.name, schema=self._schema))
        if self._owners:
            self._owners.check(connection, self.name, exists=exists)
        if exists and self._if_exists == "fail" and not self._done:
            raise InputError(
                f"There is a table {self.name} already: choose another table, "
                "or set if_exists to append or replace."
            )
        return exists

    def columns(
        self, names: Sequence[str], kinds: Sequence[Kind]
    ) -> tuple[Sequence[str], Sequence[Kind]]:
        """Return names and types of the columns to fill.

        Args:
            names: names of the columns. When rows are appended, those of the table are returned,
                which are found whatever their case.
            kinds: types of the columns. An existing column of text stays one.

        Raises:
            InputError: the table lacks a column.
        """
        if not self._append:
            return names, kinds
        columns = inspect(self._engine).get_columns(self.name, schema=self._schema)
        there = {column["name"].casefold(): column for column in columns}
        if missing := next((name for name in names if name.casefold() not in there), None):
            raise InputError(
                f"The table {self.name} has no column {missing}: rename it in the header, "
                "or choose another table."
            )
        meant = [there[name.casefold()] for name in names]
        texts = [isinstance(column["type"], String) for column in meant]
        return [column["name"] for column in meant], [
            TEXT if text else kind for text, kind in zip(texts, kinds, strict=True)
        ]

    @contextlib.contextmanager
    def filling(self, names: Sequence[str], kinds: Sequence[Kind]) -> Iterator[Filling]:
        """Give what inserts rows of text; they are in the table when the ``with`` block ends well.

        Args:
            names: names of the columns, in the order of the values of a row; see
                :meth:`columns`.
            kinds: types of the columns.

        Raises:
            Superseded: a later attempt of the job has taken over.
        """
        # Generated keys: not every character of a header may be in an SQL parameter's name.
        keys = [f"c{place}" for place in range(len(names))]

        def maker(name: str) -> Table:
            columns = (Column(key, kind.sql) for key, kind in zip(keys, kinds, strict=True))
            return Table(name, MetaData(), *columns, schema=self._schema)

        with staging(self._engine, self._schema, self._work, maker) as staged:
            yield (filling := Filling(staged, keys, kinds))
            filling.commit()
            if not staged.done:
                self._move(staged, names, kinds)

    def _move(self, staged: Staging, names: Sequence[str], kinds: Sequence[Kind]) -> None:
        pairs = zip(names, kinds, strict=True)
        columns = [Column(name, kind.sql) for name, kind in pairs]
        table = Table(self.name, MetaData(), *columns, schema=self._schema)
        undo: list[Callable[[Connection], object]] = []
        with staged.own(undo) as connection:
            self._prepare(connection, table, undo)
            staged.move(connection, table, self._values(staged, names, kinds))

    def _values(
        self, staged: Staging, names: Sequence[str], kinds: Sequence[Kind]
    ) -> list[ColumnElement[Any]]:
        """Return the values to insert; a column without any may have any type in the table."""
        values: list[ColumnElement[Any]] = list(staged.table.c)
        if not self._append:
            return values
        columns = inspect(self._engine).get_columns(self.name, schema=self._schema)
        types = {column["name"]: column["type"] for column in columns}
        return [
            cast(value, types[name])
            if kind is TEXT and not isinstance(types[name], String)
            else value
            for value, name, kind in zip(values, names, kinds, strict=True)
        ]

    def _prepare(
        self, connection: Connection, table: Table, undo: list[Callable[[Connection], object]]
    ) -> None:
        # Again, in the transaction: other jobs may have made or dropped the table meanwhile.
        if self._looked_up(connection) != self._exists:
            raise InputError(f"The table {self.name} changed meanwhile: run the job again.")
        if self._owners and self._owners.claim(connection, self.name):
            undo.append(partial(self._owners.release, name=self.name))
        if self._exists and not self._append:
            table.drop(connection)
        if not self._append:
            table.create(connection)
        if not self._exists:
            undo.append(partial(table.drop, checkfirst=True))
