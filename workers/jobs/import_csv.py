"""Imports a CSV file into a table of an SQL database: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TypedDict

from celery import shared_task
from sqlalchemy import Engine

from bridge import progress
from bridge.errors import InputError
from workers.complaints import Complaints
from workers.databases.column_types import ColumnTypes, Kind
from workers.databases.sql_table import IfExists, SqlTable, identifier
from workers.databases.sql_target import named_url, opened, sqlite_url
from workers.databases.table_owners import TableOwners
from workers.files.csv_file import CsvFile
from workers.files.outputs import job_output
from workers.files.paths import shown
from workers.running import owner

__all__ = ["import_csv"]

#: Most columns that the result lists: a result must stay small.
SHOWN_COLUMNS = 100
#: Rows read between two steps of the first bar.
STEP = 100
#: Most rows sent to the database at a time.
MAX_BATCH = 100_000


class ImportInfo(TypedDict):
    """Result of :func:`import_csv`."""

    rows: int
    skipped: int
    table: str
    #: Names of types, by names of columns.
    columns: dict[str, str]
    database: str


@shared_task(name="workers.jobs.import_csv", throws=(InputError,))
def import_csv(
    path: str,
    database: str | None = None,
    table: str | None = None,
    batch: int = 1000,
    if_exists: IfExists = "fail",
    url: None = None,
) -> ImportInfo:
    """Import a CSV file (UTF-8, any usual delimiter, a header) into a table.

    Each column gets the narrowest type that holds all its values without loss: boolean, integer,
    float, date, datetime (without or with time zone), else text. Blank fields become NULL. Rows
    that do not have as many fields as the header are logged with their line and left out. The file
    is read twice: once for the types, once for the rows.

    Args:
        path: the CSV file: relative to an input root, or absolute and below one.
        database: name of a database that TASKBRIDGE_DATABASES lists; default: a new SQLite file
            in the job's output folder, named after the CSV file.
        table: name of the table; default: made from the name of the file.
        batch: rows sent to the database at a time, from 1 to 100,000; default 1,000.
        if_exists: what to do with a table of that name: ``fail``, ``append`` or ``replace``. Only
            tables that jobs of the same owner made can be appended to or replaced.
        url: the name of ``database`` in 0.1.0; refused.

    Returns:
        ``rows`` imported, rows ``skipped``, the ``table``, the type of each of its ``columns``
        (of the first hundred), and the ``database``: its name, or the path of the SQLite file.

    Raises:
        InputError: the file, the database or the table cannot be used; nothing was imported.
        JobCancelled: the job was cancelled; nothing was imported.
    """
    if not isinstance(batch, int) or not 0 < batch <= MAX_BATCH:
        raise InputError(f"The batch must be a number from 1 to {MAX_BATCH}: correct it.")
    if url is not None:
        raise InputError(
            "A job opens no URL of a database: give as database a name that TASKBRIDGE_DATABASES "
            "lists."
        )
    with (
        CsvFile(path) as source,
        _opened(database, source.path.stem) as (engine, owners, where),
        Complaints() as skipped,
    ):
        name = identifier(source.path.stem) if table is None else table
        target = SqlTable(engine, name, if_exists, owners)
        kinds, total = _types(source, skipped)
        names, kinds = target.columns(source.header, kinds)
        with target.filling(names, kinds) as insert:
            rows = _fill(insert, source, total, batch)
        columns = zip(names, (kind.name for kind in kinds), strict=True)
        return {
            "rows": rows,
            "skipped": skipped.count,
            "table": target.name,
            "columns": dict(islice(columns, SHOWN_COLUMNS)),
            "database": where,
        }


@contextmanager
def _opened(database: str | None, stem: str) -> Iterator[tuple[Engine, TableOwners | None, str]]:
    """Give the database to fill, the owners of its tables, and its name in the result."""
    if database is not None:
        with opened(named_url(database), database) as engine:
            yield engine, TableOwners(engine, owner()), database
    else:
        file = job_output().inner(f"{stem}.sqlite").check()
        with file.replacement() as part, opened(sqlite_url(part), shown(file.path)) as engine:
            yield engine, None, shown(file.path)


def _types(source: CsvFile, skipped: Complaints) -> tuple[Sequence[Kind], int]:
    """Return the type of each column and the number of good rows."""
    types, count, read = ColumnTypes(len(source.header)), 0, 0
    with progress(total=source.size, desc="types", unit="B", unit_scale=True) as bar:
        for count, row in enumerate(source.rows(skipped.add), 1):
            types.add(row)
            if count % STEP == 0:
                bar.update(source.position - read)
                read = source.position
        bar.update(source.size - read)
    if not count:
        raise InputError(
            f"The CSV file {shown(source.path)} has no row with as many fields "
            f"as its header ({len(source.header)}): add rows, or correct them."
        )
    return types.kinds(), count


def _fill(
    insert: Callable[[Sequence[Sequence[str]]], None], source: CsvFile, total: int, batch: int
) -> int:
    """Insert the good rows, and return how many."""
    count, good = 0, source.rows()
    with progress(total=total, desc="rows", unit="row") as bar:
        while rows := list(islice(good, batch)):
            try:
                insert(rows)
            except ValueError:
                text = f"The CSV file {shown(source.path)} changed meanwhile: run the job again."
                raise InputError(text) from None
            count += len(rows)
            bar.update(len(rows))
    return count
