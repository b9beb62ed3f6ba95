"""Reads results that Celery stored, as data.

Celery's own reader unpickles, and makes exceptions of classes that a row names, so whoever can
write to the result backend can run code in each program that reads from it. This reader accepts
JSON, and the plain data of pickles. It imports and calls nothing that a row names, and its work is
bounded.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime

from bridge.results.pickled import OBJECT
from bridge.results.result_rows import (
    MALFORMED,
    MAX_NAME,
    MAX_STORED_BYTES,
    Row,
    of_database,
    reader_of,
)
from bridge.untyped import ResultBackend

__all__ = ["MAX_STORED_BYTES", "StoredResult", "can_read", "is_database", "read"]

logger = logging.getLogger(__name__)

#: Longest state that Celery's database has room for, in characters.
MAX_STATE = 50


@dataclass(frozen=True, slots=True)
class StoredResult:
    """The stored result of a task."""

    #: Celery's state, or a custom one that the task has set.
    state: str
    #: Return value of the task, or ``exc_type`` and ``exc_message`` of the error it raised;
    #: :data:`bridge.results.pickled.OBJECT` in place of what is not JSON, or is too large.
    result: object = OBJECT
    #: Time of the task's end, in seconds since the epoch; None if it is not stored.
    ended_at: float | None = None
    #: Name of the task, where Celery stores it (``result_extended``); else empty.
    name: str = ""


def read(backend: ResultBackend, task: str) -> StoredResult | None:
    """Return the stored result of a task.

    Args:
        backend: result backend of a Celery application.
        task: id of the task.

    Returns:
        None if no result is stored, if it is malformed, or if :func:`can_read` is false.

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


def can_read(backend: ResultBackend) -> bool:
    """Whether results in a backend can be read; with ``rpc://``, for one, they cannot."""
    return reader_of(backend) is not None


def is_database(backend: ResultBackend) -> bool:
    """Whether a backend is Celery's database backend, on SQLAlchemy."""
    return reader_of(backend) is of_database


def _result(row: Row) -> StoredResult:
    state, name = row.get("status"), row.get("name")
    if not isinstance(state, str) or not 0 < len(state) <= MAX_STATE:
        raise ValueError("it has no state")
    return StoredResult(
        state=state,
        result=row.get("result"),
        ended_at=_seconds(row.get("date_done")),
        name=name[:MAX_NAME] if isinstance(name, str) else "",
    )


def _seconds(date: object) -> float | None:
    date = datetime.fromisoformat(date) if isinstance(date, str) else date
    if not isinstance(date, datetime):
        return None
    seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    return seconds if math.isfinite(seconds) else None
