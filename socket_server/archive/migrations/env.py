"""Runs revisions on the connection that ``migrating.py`` gives, in its transaction."""

from alembic import context

from socket_server.archive.migrating import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
