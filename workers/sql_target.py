"""An SQL database to write into: reached by URL, left as it was when the work fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bridge.errors import InputError
from workers.files import shown

__all__ = ["database", "public", "sqlite_url", "transaction"]

#: Databases that take back the creation of a table with the rest of a transaction.
TRANSACTIONAL_DDL = frozenset({"sqlite", "postgresql", "mssql"})
#: Seconds to wait for a database that does not answer, and the drivers that would wait minutes.
CONNECT_TIMEOUT = 10
TAKE_CONNECT_TIMEOUT = frozenset({"psycopg", "psycopg2", "pymysql", "mysqldb"})


def sqlite_url(path: Path) -> URL:
    """Return the URL of an SQLite file."""
    return URL.create("sqlite", database=str(path))


@contextlib.contextmanager
def database(url: URL | str) -> Iterator[Engine]:
    """Connect to a database for the time of a ``with`` block.

    An SQLite file that did not exist before and has nothing in it afterwards is removed again.

    Raises:
        InputError: the URL cannot be used, the database does not answer, or refuses something.
    """
    engine = _engine(url)
    new = _new_file(engine.url)
    try:
        _reach(engine)
        yield engine
    except SQLAlchemyError as error:
        raise InputError(
            f"The database {public(engine.url)} refuses ({_reason(error)}): "
            "correct that, or choose another one."
        ) from error
    finally:
        engine.dispose()
        # If it is not empty, somebody else has used it in the meantime.
        if new and os.path.exists(new) and not new.stat().st_size:  # noqa: PTH110
            new.unlink()


@contextlib.contextmanager
def transaction(engine: Engine, created: Table | None = None) -> Iterator[Connection]:
    """Do all of a ``with`` block or nothing.

    Args:
        created: a table that the block creates, to be undone too.
    """
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "sqlite":
                # Else Python's driver begins at the first INSERT, and a table made before stays.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
    except BaseException:
        if created is not None and engine.dialect.name not in TRANSACTIONAL_DDL:
            created.drop(engine, checkfirst=True)
        raise


def public(url: URL) -> str:
    """Return a URL as text, without anything secret."""
    bare = URL.create(url.drivername, url.username, None, url.host, url.port, url.database)
    return shown(bare.render_as_string())


def _engine(url: URL | str) -> Engine:
    try:
        parsed = make_url(url)
        slow = parsed.get_driver_name() in TAKE_CONNECT_TIMEOUT
        if slow and "connect_timeout" not in parsed.query:
            parsed = parsed.update_query_dict({"connect_timeout": str(CONNECT_TIMEOUT)})
        engine = create_engine(parsed, poolclass=NullPool, hide_parameters=True)
    except ImportError as error:
        raise InputError(
            f"The driver of the database ({error.name}) is not installed on this worker: "
            "install it, or name another one in the URL."
        ) from None
    except (SQLAlchemyError, ValueError, TypeError):
        # Its text is not repeated: there may be a password in it.
        raise InputError(
            "The URL of the database is not one of SQLAlchemy's, such as "
            "postgresql+psycopg://user:password@host/name: correct it."
        ) from None
    if engine.dialect.is_async:
        raise InputError(
            f"The driver {engine.dialect.driver} is an asynchronous one: "
            "name a synchronous one in the URL of the database."
        )
    return engine


def _reach(engine: Engine) -> None:
    try:
        engine.connect().close()
    except (SQLAlchemyError, ValueError, TypeError) as error:
        raise InputError(
            f"The database {public(engine.url)} cannot be reached ({_reason(error)}): "
            "check its URL, and that it is running."
        ) from error


def _new_file(url: URL) -> Path | None:
    """Return the SQLite file of a URL if it does not exist yet."""
    if url.get_backend_name() != "sqlite" or not url.database or "\0" in url.database:
        return None
    # A Path would raise where the worker has no rights; the database will tell.
    return None if os.path.exists(url.database) else Path(url.database)  # noqa: PTH110


def _reason(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
