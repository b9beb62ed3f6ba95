"""``with_word``: the condition that a job has a word, by an index of words."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, cast, literal, select
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import TSQUERY

from socket_server.archive.job_words import owner_word
from socket_server.archive.schema import JOBS, WORDS

__all__ = ["with_word"]

#: Share of the rows up to which a word is rare. At this share, looking at the rows of a word takes
#: about as long as looking at the newest jobs until a page of them has it, however many there are.
RARE = 0.01
#: Rows of the index of SQLite.
MATCHING = sql("SELECT rowid FROM archive_words_index WHERE archive_words_index MATCH :words")
#: How many rows PostgreSQL expects to have a word, and how many there are.
EXPECTED = sql(
    "EXPLAIN (FORMAT JSON) SELECT job FROM archive_words WHERE words @@ CAST(:query AS tsquery)"
)
ROWS = sql("SELECT reltuples FROM pg_class WHERE oid = to_regclass('archive_words')")


def with_word(connection: Connection, owner: str | None, word: str) -> ColumnElement[bool]:
    """Return the condition that a job has a word.

    Args:
        connection: open connection to the database.
        owner: owner of the jobs, for whose jobs alone the index is asked; None for all owners.
        word: the word, as ``words_of`` returns it.
    """
    both = [word] if owner is None else [owner_word(owner), word]
    jobs: Select[Any] = select(WORDS.c.job)
    if connection.dialect.name != "postgresql":
        query_text = " ".join(f'"{one}"' for one in both)
        rows = MATCHING.bindparams(bindparam("words", query_text, unique=True)).columns(WORDS.c.id)
        return JOBS.c.job.in_(jobs.where(WORDS.c.id.in_(rows)))
    query_text = " & ".join(f"'{one}'" for one in both)
    has_word = WORDS.c.words.bool_op("@@")(cast(literal(query_text), TSQUERY))
    if owner is None and _is_rare(connection, query_text):
        # PostgreSQL would look at jobs in their order, thousands of them, for the few of the page.
        rare = jobs.where(has_word).cte().prefix_with("MATERIALIZED")
        return JOBS.c.job.in_(select(rare.c.job))
    return jobs.where(WORDS.c.job == JOBS.c.job, has_word).exists()


def _is_rare(connection: Connection, query: str) -> bool:
    plan = connection.execute(EXPECTED, {"query": query}).scalar_one()
    expected: float = plan[0]["Plan"]["Plan Rows"]
    rows: float = connection.execute(ROWS).scalar_one()
    return expected <= RARE * rows or rows <= 0  # -1 before the first statistics
