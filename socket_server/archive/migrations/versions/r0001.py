"""The first tables of the archive."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

SEARCHED = sa.Text().with_variant(postgresql.TSVECTOR, "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
#: The index of words of SQLite, which has the rows of a table, and is kept up to date by triggers.
FULL_TEXT = (
    """CREATE VIRTUAL TABLE archive_words_index USING fts5(words, content='archive_words',
    content_rowid='id', detail='none', tokenize="unicode61 remove_diacritics 0")""",
    """CREATE TRIGGER archive_words_added AFTER INSERT ON archive_words BEGIN
    INSERT INTO archive_words_index (rowid, words) VALUES (new.id, new.words); END""",
    """CREATE TRIGGER archive_words_removed AFTER DELETE ON archive_words BEGIN
    INSERT INTO archive_words_index (archive_words_index, rowid, words)
    VALUES ('delete', old.id, old.words); END""",
)


def upgrade() -> None:
    """Make all tables."""
    _make_jobs()
    _make_lines()
    _make_positions()


def _make_jobs() -> None:
    op.create_table(
        "archive_jobs",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("heard", sa.Float(53), nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("lines", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("parts", sa.Integer, nullable=False),
        sa.Column("missed", sa.Boolean, nullable=False),
        sa.Column("snapshot", sa.Text, nullable=False),
        sa.Column("runs", sa.Text, nullable=False),
    )
    for name, columns in {
        "archive_jobs_by_owner": ["owner", "at", "job"],
        "archive_jobs_by_state": ["state", "at", "job"],
        "archive_jobs_by_time": ["at", "job"],
        "archive_jobs_by_age": ["heard"],
    }.items():
        op.create_index(name, "archive_jobs", columns)
    op.create_table(
        "archive_tasks",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, primary_key=True),
        sa.Column("parent", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("queued_at", sa.Float(53)),
        sa.Column("started_at", sa.Float(53)),
        sa.Column("ended_at", sa.Float(53)),
        sa.Column("body", sa.Text, nullable=False),
    )


def _make_lines() -> None:
    op.create_table(
        "archive_lines",
        sa.Column("job", sa.Text, primary_key=True),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "archive_words",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("job", sa.Text, nullable=False),
        sa.Column("words", SEARCHED, nullable=False),
    )
    op.create_index("archive_words_by_job", "archive_words", ["job"])
    if op.get_bind().dialect.name == "postgresql":
        op.create_index("archive_words_index", "archive_words", ["words"], postgresql_using="gin")
    else:
        for statement in FULL_TEXT:
            op.execute(statement)


def _make_positions() -> None:
    op.create_table(
        "archive_positions",
        sa.Column("channel", sa.Text, primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
    )
    op.create_table(
        "archive_gaps",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("since", sa.Float(53)),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
