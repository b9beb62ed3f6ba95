"""The tables of the archive: made, left as they are, or refused."""

from __future__ import annotations

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from bridge.errors import SettingsError
from socket_server.archive.database import Database
from socket_server.archive.migrating import MIGRATIONS, VERSION_TABLE, migrate, new_engine
from socket_server.archive.schema import METADATA


@pytest.fixture
def engine(tmp_path):
    engine = new_engine(f"sqlite:///{tmp_path}/100%.sqlite")
    yield engine
    engine.dispose()


@pytest.fixture
def revisions():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return [one.revision for one in ScriptDirectory.from_config(config).walk_revisions()]


def test_an_empty_database_gets_the_tables_that_the_code_knows(engine):
    migrate(engine)
    migrate(engine)
    known = inspect(engine)
    for table in METADATA.sorted_tables:
        assert {one["name"] for one in known.get_columns(table.name)} == set(table.c.keys())


def test_a_database_of_each_earlier_revision_is_brought_up_to_date(engine, revisions):
    assert revisions[-1] == "0001"
    for revision in reversed(revisions):
        migrate(engine, revision)
        migrate(engine)
        assert Database(engine, "taskbridge").position() == (-1, None)
        with engine.begin() as connection:
            found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
            assert found == revisions[0]
            connection.execute(text("DELETE FROM archive_positions"))


def test_a_database_of_a_newer_version_is_refused_in_a_sentence(engine):
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(SettingsError, match="revision 9999, which this version of taskbridge"):
        migrate(engine)
