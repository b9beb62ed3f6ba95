"""Imports a CSV file into a table of an SQL database: all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TypedDict

from celery import shared_task
from sqlalchemy import Engine

from bridge import job, progress
from bridge.errors import InputError
from bridge.protocol.json_types import JSONObject
from workers.complaints import Complaints
from workers.databases.column_types import KINDS, ColumnTypes, Kind
from workers.databases.filling import Filling
from workers.databases.sql_table import IfExists, SqlTable, identifier
from workers.databases.sql_target import compact, named_url, opened, sqlite_url
from workers.databases.table_owners import TableOwners
from workers.files.csv_file import CsvFile
from workers.files.outputs import job_output
from workers.files.paths import shown
from workers.running import owner, work

__all__ = ["import_csv"]

#: Most columns that the result lists: a result must stay small.
SHOWN_COLUMNS = 100
#: Rows read between two steps of the first bar.
STEP = 100
KINDS_BY_NAME = {kind.name: kind for kind in KINDS}
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
    is read twice: once for the types, once for the rows. A later attempt goes on after the last
    batch that is in a ``database``, and fills a new file anew.

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
    with CsvFile(path) as source:
        task = work(source.version, database, table)
    with (
        CsvFile(path) as source,
        _opened(database, source.path.stem) as (engine, owners, where),
        Complaints() as skipped,
    ):
        name = identifier(source.path.stem) if table is None else table
        target = SqlTable(engine, name, if_exists, task, owners)
        found, total = _known_types(source, skipped)
        names, kinds = target.columns(source.header, found)
        with target.filling(names, kinds) as filling:
            state = {"version": source.version, "total": total, "skipped": skipped.count}
            state["kinds"] = [kind.name for kind in found]
            rows = _fill(filling, source, state, batch)
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
        # Each attempt has a file: two that run at once, after a cut, must not have one.
        with file.replacement() as part, opened(sqlite_url(part), shown(file.path)) as engine:
            yield engine, None, shown(file.path)
            compact(engine)


def _known_types(source: CsvFile, skipped: Complaints) -> tuple[Sequence[Kind], int]:
    """Return the same as :func:`_types`, from the checkpoint of an earlier attempt if it is of this
    file: then the file is not read for it again.
    """
    match job.restored:
        case {"version": source.version, "kinds": [*names], "total": int(total), "skipped": int(n)}:
            if len(names) == len(source.header) and all(name in KINDS_BY_NAME for name in names):
                skipped.count = n
                return [KINDS_BY_NAME[name] for name in names], total
    return _types(source, skipped)


def _types(source: CsvFile, skipped: Complaints) -> tuple[Sequence[Kind], int]:
    """Return the type of each column and the number of good rows."""
    types, count, read = ColumnTypes(len(source.header)), 0, 0
    with (
        job.step("find the types"),
        progress(total=source.size, desc="types", unit="B", unit_scale=True) as bar,
    ):
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


def _fill(filling: Filling, source: CsvFile, state: JSONObject, batch: int) -> int:
    """Insert the good rows that no earlier attempt has inserted; return how many there are."""
    count = filling.rows
    good = islice(source.rows(), count, None)
    with (
        job.step("fill the table"),
        progress(total=state["total"], initial=count, desc="rows", unit="row") as bar,
    ):
        while rows := list(islice(good, batch)):
            count += len(rows)
            try:
                if filling.insert(rows):
                    job.checkpoint({**state, "rows": filling.rows})
            except ValueError:
                text = f"The CSV file {shown(source.path)} changed meanwhile: run the job again."
                raise InputError(text) from None
            bar.update(len(rows))
    return count
