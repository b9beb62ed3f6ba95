"""Make PostgreSQL's tables of results, checkpoints and idempotency keys, and logins.

The logins have just the rights that they need.

``python compose/postgresql/roles.py --secrets FOLDER``, before workers and servers start. It can be
run again: it changes passwords, and adds what a newer Celery needs.

- ``worker`` stores results and checkpoints: it reads and writes rows, and makes and changes no
  table.
- ``server`` reads results, without arguments and tracebacks; ``service`` reads all of them, as
  Celery's ``AsyncResult`` does. Both may insert the marks of cancelled jobs
  (``bridge/cancelling/cancel_mark.py``), and can change or delete no row of these, not even a mark.
- All of them reserve idempotency keys in a table of their own.
- ``archive`` owns a schema of that name, in which it makes its tables, and has nothing else;
  ``server`` reads them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import psycopg
from celery.backends.database import models
from celery.backends.database.session import SessionManager
from psycopg import sql
from sqlalchemy import create_engine

from bridge.cancelling.cancel_mark import PREFIX
from bridge.checkpoints.table import checkpoint_table
from bridge.repeating.table import reservation_table

WRITERS, READERS, SERVICES = ("worker",), ("server", "service"), ("service",)
#: The archive's login, which has a schema of its name and its own, and who reads that.
ARCHIVE, SEARCHERS = "archive", "server"
#: Columns that bridge/results/stored_result.py reads, and that a mark has.
READ, MARKED = (
    ("task_id", "status", "result", "date_done", "name"),
    ("task_id", "status", "date_done"),
)

RIGHTS = """
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {writers}, {readers};
GRANT USAGE ON SCHEMA public TO {writers}, {readers};
REVOKE ALL ON {results}, {groups}, {checkpoints}, {reservations} FROM {writers}, {readers};
GRANT SELECT, INSERT, UPDATE, DELETE ON {results}, {groups}, {checkpoints} TO {writers};
GRANT SELECT, INSERT, UPDATE, DELETE ON {reservations} TO {writers}, {readers};
GRANT USAGE ON SEQUENCE {result_ids}, {group_ids} TO {writers};
GRANT SELECT ({read}), INSERT (id, {marked}) ON {results} TO {readers};
GRANT SELECT ON {results}, {groups} TO {services};
GRANT USAGE ON SEQUENCE {result_ids} TO {readers};
ALTER TABLE {results} ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS writers ON {results};
CREATE POLICY writers ON {results} TO {writers} USING (true) WITH CHECK (true);
DROP POLICY IF EXISTS readers ON {results};
CREATE POLICY readers ON {results} FOR SELECT TO {readers} USING (true);
DROP POLICY IF EXISTS marks ON {results};
CREATE POLICY marks ON {results} FOR INSERT TO {readers}
    WITH CHECK (starts_with(task_id, {prefix}) AND status = 'SUCCESS');
"""
#: The archive makes its tables itself; servers find them behind those of results.
ARCHIVE_RIGHTS = """
GRANT CONNECT ON DATABASE {database} TO {archive};
CREATE SCHEMA IF NOT EXISTS {archive} AUTHORIZATION {archive};
GRANT USAGE ON SCHEMA {archive} TO {searchers};
GRANT SELECT ON ALL TABLES IN SCHEMA {archive} TO {searchers};
ALTER DEFAULT PRIVILEGES FOR ROLE {archive} IN SCHEMA {archive}
    GRANT SELECT ON TABLES TO {searchers};
ALTER ROLE {archive} SET search_path = {archive};
ALTER ROLE {searchers} SET search_path = public, {archive};
"""
LOGIN = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT PASSWORD {}"


def make_tables(url: str) -> None:
    """Make the tables, or add the columns that Celery's lack."""
    engine = create_engine(url)
    SessionManager().prepare_models(engine)
    checkpoint_table().create(engine, checkfirst=True)
    reservation_table().create(engine, checkfirst=True)
    engine.dispose()


def make_roles(connection: psycopg.Connection[Any], passwords: dict[str, str]) -> None:
    """Make the logins, or change their passwords, and grant them their rights."""
    for role, password in passwords.items():
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        # As PostgreSQL keeps it: a password in a statement could end in its log.
        kept = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        )
        login = sql.SQL(LOGIN).format(kept.decode())
        verb = sql.SQL("ALTER ROLE {} " if known else "CREATE ROLE {} ").format(
            sql.Identifier(role)
        )
        connection.execute(verb + login)
    names = _names(connection.info.dbname)
    connection.execute(sql.SQL(RIGHTS).format(**names))
    connection.execute(sql.SQL(ARCHIVE_RIGHTS).format(**names))


def _names(database: str) -> dict[str, sql.Composable]:
    results, groups = models.Task.__table__, models.TaskSet.__table__
    return {
        "database": sql.Identifier(database),
        "writers": _listed(WRITERS),
        "readers": _listed(READERS),
        "services": _listed(SERVICES),
        "results": sql.Identifier(results.name),
        "groups": sql.Identifier(groups.name),
        "checkpoints": sql.Identifier(checkpoint_table().name),
        "reservations": sql.Identifier(reservation_table().name),
        "result_ids": sql.Identifier(results.c.id.default.name),
        "group_ids": sql.Identifier(groups.c.id.default.name),
        "read": _listed(READ),
        "marked": _listed(MARKED),
        "prefix": sql.Literal(PREFIX),
        "archive": sql.Identifier(ARCHIVE),
        "searchers": sql.Identifier(SEARCHERS),
    }


def _listed(names: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def main() -> int:
    """Make them.

    Returns:
        Exit status: 0, or 1 if a secret is missing or no database answers.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    files = "has operator_result_url, and postgresql_ with worker, server, service and archive"
    parser.add_argument("--secrets", type=Path, required=True, help=files)
    folder = parser.parse_args().secrets
    try:
        url = (folder / "operator_result_url").read_text().strip().removeprefix("db+")
        roles = (*WRITERS, *READERS, ARCHIVE)
        passwords = {role: (folder / f"postgresql_{role}").read_text().strip() for role in roles}
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}: put the secret there\n")
        return 1
    try:
        # Before the tables are made, which tries for some seconds.
        with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
            make_tables(url)
            make_roles(connection, passwords)
    except psycopg.OperationalError as error:
        sys.stderr.write(f"PostgreSQL does not let the operator in: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
