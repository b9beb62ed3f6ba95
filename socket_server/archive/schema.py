"""The archive's tables, as SQLAlchemy's Core knows them; ``migrations/`` makes them.

Times are in seconds since the epoch. Texts that may hold any character are JSON in ASCII, since
PostgreSQL takes neither NUL nor lone surrogates.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import TSVECTOR

__all__ = [
    "CALLS",
    "DELIVERIES",
    "GAPS",
    "JOBS",
    "LINES",
    "POSITIONS",
    "TASKS",
    "WORDS",
    "Row",
]

#: A row, by the names of its columns.
Row = dict[str, Any]

METADATA = MetaData()

JOBS = Table(
    "archive_jobs",
    METADATA,
    Column("job", Text, primary_key=True),
    # Channel on which its events came.
    Column("channel", Text, nullable=False),
    Column("owner", Text),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    # When it was enqueued, or of its first event: its place in lists.
    Column("at", Float, nullable=False),
    # When its newest event was written, by the archive's clock.
    Column("heard", Float, nullable=False),
    # Events, lines and chunks of output, and bytes of text that were written.
    Column("events", BigInteger, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    # Rows of its lines and of its words so far.
    Column("parts", Integer, nullable=False),
    # Whether events may have been missed while it was unfinished.
    Column("missed", Boolean, nullable=False),
    # JSON of its snapshot, and of its executions that are not usual ones.
    Column("snapshot", Text, nullable=False),
    Column("runs", Text, nullable=False),
    # Webhook to which its end is delivered; the end for which a delivery is queued, until the job
    # goes on.
    Column("webhook", Text),
    Column("reported", Text),
)
TASKS = Table(
    "archive_tasks",
    METADATA,
    Column("job", Text, primary_key=True),
    Column("task", Text, primary_key=True),
    # Id of the task that published it, where its worker says it.
    Column("parent", Text),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("queued_at", Float),
    # Of its newest execution.
    Column("started_at", Float),
    Column("ended_at", Float),
    # JSON of the task, as a snapshot lists it.
    Column("body", Text, nullable=False),
)
LINES = Table(
    "archive_lines",
    METADATA,
    Column("job", Text, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    # JSON: a list of entries; see `entries.py`.
    Column("body", Text, nullable=False),
)
CALLS = Table(
    "archive_calls",
    METADATA,
    Column("job", Text, primary_key=True),
    # JSON: the call of the job, to run it again, or why it was not kept; see
    # `bridge/repeating/kept_call.py`. Never sent to clients.
    Column("body", Text, nullable=False),
)
WORDS = Table(
    "archive_words",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("job", Text, nullable=False),
    # Words that no earlier row of the job has; in SQLite with spaces between them.
    Column("words", Text().with_variant(TSVECTOR, "postgresql"), nullable=False),
)
POSITIONS = Table(
    "archive_positions",
    METADATA,
    Column("channel", Text, primary_key=True),
    # Offset in the stream of the next message to be read; without a stream, messages so far.
    Column("next", BigInteger, nullable=False),
    # When it was written.
    Column("at", Float, nullable=False),
)
GAPS = Table(
    "archive_gaps",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("channel", Text, nullable=False),
    # Events of this time may be missing.
    Column("since", Float),
    Column("until", Float, nullable=False),
    Column("reason", Text, nullable=False),
)

DELIVERIES = Table(
    "archive_deliveries",
    METADATA,
    # Id of the message, the same in all attempts.
    Column("id", Text, primary_key=True),
    # Channel of the archive that delivers it.
    Column("channel", Text, nullable=False),
    Column("webhook", Text, nullable=False),
    Column("job", Text, nullable=False),
    # Type of the webhook's event, such as job.succeeded.
    Column("type", Text, nullable=False),
    # When it was queued, and when it is to be attempted next; null once it is over.
    Column("at", Float, nullable=False),
    Column("due", Float),
    Column("attempts", Integer, nullable=False),
    # Why the last attempt failed; when one succeeded.
    Column("failure", Text),
    Column("delivered_at", Float),
    # What is sent; empty once it is over.
    Column("body", Text, nullable=False),
)
