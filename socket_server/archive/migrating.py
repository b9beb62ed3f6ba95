"""``open_archive``: connects to the archive's database, and brings its tables to this version's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text

from bridge.errors import SettingsError

__all__ = ["VERSION_TABLE", "migrate", "new_engine"]

VERSION_TABLE = "archive_version"
MIGRATIONS = Path(__file__).parent / "migrations"
#: Key of PostgreSQL's advisory lock under which tables are changed: "taskbrid" as a number.
LOCK = int.from_bytes(b"taskbrid", "big") >> 1
#: Seconds to connect to PostgreSQL, and to wait for another process's transaction in SQLite.
CONNECT_TIMEOUT, BUSY_TIMEOUT = 5, 5
#: Options of a connection to PostgreSQL, by which a dead link is noticed within half a minute.
LINK = {
    "connect_timeout": CONNECT_TIMEOUT,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def new_engine(url: str, **options: Any) -> Engine:
    """Return an engine for the archive's database, which connects when it is first used.

    Args:
        url: ``TASKBRIDGE_ARCHIVE_URL``.
        options: options of ``sqlalchemy.create_engine``.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT}, **options)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    parsed = parsed.set(drivername="postgresql+psycopg")
    arguments = {**LINK, **options.pop("connect_args", {})}
    return create_engine(parsed, connect_args=arguments, pool_pre_ping=True, **options)


def _configure_sqlite(connection: Any, _: object) -> None:
    # Python's own module would begin transactions of its own, and later than they are to begin.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    # A crash of the machine may undo the last transactions, but each as a whole, offset included.
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def migrate(engine: Engine, to: str = "head") -> None:
    """Make or change the tables, in one transaction and under a lock.

    Args:
        engine: engine of the database.
        to: revision; default the newest of this version.

    Raises:
        SettingsError: a newer version has changed the tables.
        sqlalchemy.exc.SQLAlchemyError: the database does not answer, or refuses.
    """
    # Imported here: servers only connect.
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {one.revision for one in ScriptDirectory.from_config(config).walk_revisions()}
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        options = {"version_table": VERSION_TABLE}
        current = MigrationContext.configure(connection, opts=options).get_current_revision()
        if current is not None and current not in known:
            raise SettingsError(
                f"the archive at TASKBRIDGE_ARCHIVE_URL has revision {current}, which this version "
                "of taskbridge does not know: run the version that has changed it, or a newer one"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, to)
