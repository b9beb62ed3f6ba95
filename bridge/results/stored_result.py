"""Reads results that Celery stored, as data.

Celery's own reader unpickles, and makes exceptions of classes that a row names. Whoever may write
to the result backend would run code in each program that reads from it. This reader takes JSON, and
the plain data of pickles. It imports and calls nothing that is stored, and its work is bounded.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.results.pickled import OBJECT
from bridge.results.result_rows import MALFORMED, MAX_NAME, MAX_STORED_BYTES, of_database, reader_of

__all__ = ["MAX_STORED_BYTES", "StoredResult", "can_read", "is_database", "read"]

logger = logging.getLogger(__name__)

#: Longest state that Celery's database has room for, in characters.
MAX_STATE = 50


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a result backend knows of a task."""

    #: Celery's, or one of the task's own.
    state: str
    #: What the task returned, or ``exc_type`` and ``exc_message`` of what it raised;
    #: :data:`bridge.results.pickled.OBJECT` in place of all that is no JSON, or is too large.
    result: Any = OBJECT
    #: When the task ended, in seconds since the epoch; None if it has not, or that is not stored.
    ended_at: float | None = None
    #: The task's, where Celery stores it (``result_extended``).
    name: str = ""


def read(backend: Any, task: str) -> StoredResult | None:
    """Return what a result backend knows of a task.

    Args:
        backend: Celery's, of an application.
        task: its id.

    Returns:
        None if it knows nothing, if what it has is malformed, or if :func:`can_read` is false.

    Raises:
        Exception: whatever the backend's library raises if the backend is away.
    """
    reader = reader_of(backend)
    row = reader(backend, task) if reader else None
    if row is None:
        return None
    try:
        return _result(row)
    except MALFORMED as error:
        logger.warning("taskbridge: the stored result of task %r is malformed: %s", task, error)
        return None


def can_read(backend: Any) -> bool:
    """Whether results in a backend can be read; ``rpc://``, for one, gives them to one reader."""
    return reader_of(backend) is not None


def is_database(backend: Any) -> bool:
    """Whether a backend is a table of SQLAlchemy's."""
    return reader_of(backend) is of_database


def _result(row: dict[str, Any]) -> StoredResult:
    state, name = row.get("status"), row.get("name")
    if not isinstance(state, str) or not 0 < len(state) <= MAX_STATE:
        raise ValueError("it has no state")
    return StoredResult(
        state=state,
        result=row.get("result"),
        ended_at=_seconds(row.get("date_done")),
        name=name[:MAX_NAME] if isinstance(name, str) else "",
    )


def _seconds(date: Any) -> float | None:
    date = datetime.fromisoformat(date) if isinstance(date, str) else date
    if not isinstance(date, datetime):
        return None
    seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return seconds if math.isfinite(seconds) else None
