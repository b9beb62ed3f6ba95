"""The SQL database that a job writes to: one that the settings name, or an SQLite file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bridge.errors import InputError
from workers.running import settings_here

__all__ = ["compact", "named_url", "opened", "sqlite_url", "transaction"]

#: For operators alone: records of this logger are not captured as the job's log.
logger = logging.getLogger("bridge.databases")

#: Dialects of databases whose rollback also undoes the creation of a table.
TRANSACTIONAL_DDL = frozenset({"sqlite", "postgresql", "mssql"})
#: Seconds to wait for a connection, and the drivers that would wait minutes by default.
CONNECT_TIMEOUT = 10
TAKE_CONNECT_TIMEOUT = frozenset({"psycopg", "psycopg2", "pymysql", "mysqldb"})


def named_url(name: object) -> str:
    """Return the URL of a database that ``TASKBRIDGE_DATABASES`` names.

    Raises:
        InputError: there is no database of that name.
    """
    url = dict(settings_here().databases).get(name) if isinstance(name, str) else None
    if url is None:
        # The error does not repeat the name: it may be a URL with a password.
        raise InputError(
            "This worker knows no database of that name: give a name that TASKBRIDGE_DATABASES "
            "lists, or none for an SQLite file in the job's output folder."
        )
    return url


def sqlite_url(path: Path) -> URL:
    """Return the URL of an SQLite file."""
    return URL.create("sqlite", database=str(path))


@contextlib.contextmanager
def opened(url: URL | str, label: str) -> Iterator[Engine]:
    """Connect to a database for the time of a ``with`` block.

    Args:
        url: SQLAlchemy URL; errors contain neither it nor a driver's message about it.
        label: name of the database in errors.

    Raises:
        InputError: the URL cannot be used, the database does not answer, or refuses something.
    """
    engine = _engine(url, label)
    try:
        _reach(engine, label)
        yield engine
    except SQLAlchemyError as error:
        logger.warning("taskbridge: the database %s refuses: %s", label, error)
        raise InputError(
            f"The database {label} refuses ({_reason(engine, error)}): "
            "correct that, or choose another one."
        ) from None
    finally:
        engine.dispose()


@contextlib.contextmanager
def transaction(
    engine: Engine, undo: Sequence[Callable[[Connection], object]]
) -> Iterator[Connection]:
    """Run a ``with`` block in a transaction, so that all of it takes effect or nothing.

    Args:
        engine: the database.
        undo: functions that undo what the block has done, for a database where a rollback does not
            undo the creation of a table; called from the last to the first.
    """
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # Otherwise temporary files could be made in folders of all users.
                connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
                # Otherwise Python's driver begins the transaction at the first INSERT, and a table
                # made before that stays.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    except BaseException:
        if engine.dialect.name not in TRANSACTIONAL_DDL:
            with engine.begin() as connection:
                for step in reversed(undo):
                    step(connection)
        raise


def compact(engine: Engine) -> None:
    """Remove from an SQLite file what is a job's own, and the room that it took."""
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS taskbridge_imports")
        connection.commit()
        connection.exec_driver_sql("VACUUM")


def _engine(url: URL | str, label: str) -> Engine:
    try:
        parsed = make_url(url)
        slow = parsed.get_driver_name() in TAKE_CONNECT_TIMEOUT
        if slow and "connect_timeout" not in parsed.query:
            parsed = parsed.update_query_dict({"connect_timeout": str(CONNECT_TIMEOUT)})
        engine = create_engine(parsed, poolclass=NullPool, hide_parameters=True)
    except ImportError as error:
        raise InputError(
            f"The driver of the database {label} ({error.name}) is not installed on this worker: "
            "install it, or name another one in TASKBRIDGE_DATABASES."
        ) from None
    except (SQLAlchemyError, ValueError, TypeError):
        # The error does not repeat the URL: there may be a password in it.
        raise InputError(
            f"The URL of the database {label} is not one of SQLAlchemy's, such as "
            "postgresql+psycopg://user:password@host/name: correct it in TASKBRIDGE_DATABASES."
        ) from None
    if engine.dialect.is_async:
        raise InputError(
            f"The driver {engine.dialect.driver} of the database {label} is an asynchronous one: "
            "name a synchronous one in TASKBRIDGE_DATABASES."
        )
    return engine


def _reach(engine: Engine, label: str) -> None:
    try:
        engine.connect().close()
    except (SQLAlchemyError, ValueError, TypeError) as error:
        logger.warning("taskbridge: the database %s cannot be reached: %s", label, error)
        raise InputError(
            f"The database {label} cannot be reached ({_reason(engine, error)}): "
            "check its URL in TASKBRIDGE_DATABASES, and that it is running."
        ) from None


def _reason(engine: Engine, error: Exception) -> str:
    """Return the reason of an error without hosts, users and paths, which drivers may name."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    lines = str(cause).strip().splitlines()
    # SQLite's texts consist of fixed words and of names in the database.
    return lines[0] if lines and engine.dialect.name == "sqlite" else type(cause).__name__
