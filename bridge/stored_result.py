"""Reads results that Celery stored, as data.

Celery's own reader unpickles, and makes exceptions of classes that a row names. Whoever may write
to the result backend would run code in each program that reads from it. This reader takes JSON, and
the plain data of pickles. It imports and calls nothing that is stored, and its work is bounded.
"""

from __future__ import annotations

import bz2
import json
import logging
import math
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.pickled import OBJECT, plain

__all__ = ["MAX_STORED_BYTES", "StoredResult", "can_read", "is_database", "read"]

logger = logging.getLogger(__name__)

#: Bytes of a stored result that are read at most; of a larger one only the state is known.
MAX_STORED_BYTES = 64 * 1024
#: Longest state, and longest name of a task, that Celery's database has room for, in characters.
MAX_STATE, MAX_NAME = 50, 155
#: How the JSON of a backend that stores keys and values begins.
_BEGINNING = re.compile(rb'\{"status": ?"(\w{1,50})"')
#: What may be raised by a value that is malformed.
_MALFORMED = (ValueError, TypeError, OverflowError, RecursionError, EOFError, OSError, zlib.error)


@dataclass(frozen=True, slots=True)
class StoredResult:
    """What a result backend knows of a task."""

    #: Celery's, or one of the task's own.
    state: str
    #: What the task returned, or ``exc_type`` and ``exc_message`` of what it raised;
    #: :data:`bridge.pickled.OBJECT` in place of all that is no JSON, or is too large.
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
    reader = _reader(backend)
    row = reader(backend, task) if reader else None
    if row is None:
        return None
    try:
        return _result(row)
    except _MALFORMED as error:
        logger.warning("taskbridge: the stored result of task %r is malformed: %s", task, error)
        return None


def can_read(backend: Any) -> bool:
    """Whether results in a backend can be read; ``rpc://``, for one, gives them to one reader."""
    return _reader(backend) is not None


def is_database(backend: Any) -> bool:
    """Whether a backend is a table of SQLAlchemy's."""
    return _reader(backend) is _of_database


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


# Where each kind of backend has its results: a row of the fields that Celery stores.


def _of_database(backend: Any, task: str) -> dict[str, Any] | None:
    import sqlalchemy as sa
    from sqlalchemy.exc import DatabaseError

    table, raw = backend.task_cls.__table__, sa.types.NullType()
    # As the driver gives them: SQLAlchemy's own types unpickle, and allocate what a row asks for.
    columns = [sa.type_coerce(table.c[name], raw).label(name) for name in ("status", "date_done")]
    if hasattr(backend.task_cls, "name"):
        columns.append(sa.type_coerce(table.c.name, raw).label("name"))
    length = sa.func.length(table.c.result)
    short = sa.case((length <= MAX_STORED_BYTES, sa.type_coerce(table.c.result, raw)))
    columns += [short.label("result"), length.label("length")]
    query = sa.select(*columns).where(table.c.task_id == task)
    engine = backend.session_manager.get_engine(backend.url, **backend.engine_options)
    try:
        with engine.connect() as connection:
            row = connection.execute(query).mappings().first()
    except DatabaseError:
        if sa.inspect(engine).has_table(table.name, schema=table.schema):
            raise
        return None  # no worker has stored anything yet
    if row is None:
        return None
    return {**row, "result": _column(row["result"], row["length"])}


def _column(value: Any, length: Any) -> Any:
    if length is None:
        return None
    try:
        return _decoded(_decompressed(_bytes(value)))
    except _MALFORMED:
        return OBJECT


def _of_redis(backend: Any, task: str) -> dict[str, Any] | None:
    key = backend.get_key_for_task(task)
    return _fields(backend.client.getrange(key, 0, MAX_STORED_BYTES))


def _of_files(backend: Any, task: str) -> dict[str, Any] | None:
    try:
        file = backend.open(backend.sep.join((backend.path, backend.get_key_for_task(task))), "rb")
    except FileNotFoundError:
        return None
    with file:
        return _fields(file.read(MAX_STORED_BYTES + 1))


def _of_keys(backend: Any, task: str) -> dict[str, Any] | None:
    return _fields(backend.get(backend.get_key_for_task(task)))


def _fields(value: Any) -> dict[str, Any] | None:
    """Return what is stored of a task under one key; an empty row if it is malformed."""
    if not value:
        return None
    try:
        data = _decompressed(_bytes(value))
        if len(data) > MAX_STORED_BYTES:
            beginning = _BEGINNING.match(data)
            return {"status": beginning[1].decode(), "result": OBJECT} if beginning else {}
        fields = _decoded(data)
    except _MALFORMED:
        return {}
    return fields if isinstance(fields, dict) else {}


#: What reads each class of backend; None for one whose client library unpickles.
_READERS: dict[str, Callable[[Any, str], dict[str, Any] | None] | None] = {
    "celery.backends.database.DatabaseBackend": _of_database,
    "celery.backends.redis.RedisBackend": _of_redis,
    "celery.backends.filesystem.FilesystemBackend": _of_files,
    "celery.backends.cache.CacheBackend": None,
    "celery.backends.base.BaseKeyValueStoreBackend": _of_keys,
}


def _reader(backend: Any) -> Callable[[Any, str], dict[str, Any] | None] | None:
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(backend).__mro__)
    return next((_READERS[name] for name in names if name in _READERS), None)


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="replace")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("it is no text")
    return bytes(value)


def _decoded(data: bytes) -> Any:
    """Return what JSON, or a pickle of plain data, stands for.

    Raises:
        ValueError, TypeError, RecursionError: it is neither, or is too large.
    """
    if len(data) > MAX_STORED_BYTES:
        raise ValueError("it is too large")
    if data[:1] == b"\x80":  # as each pickle of protocol 2 or later begins
        return plain(data)
    return json.loads(data, object_hook=_typed)


def _typed(fields: dict[str, Any]) -> Any:
    """Leave out what kombu writes of dates and the like: what the task returned is no JSON."""
    return OBJECT if fields.keys() == {"__type__", "__value__"} else fields


#: How what Celery compressed begins (``result_compression``, from 5.7 on).
_COMPRESSED = b"\x00celery-compressed\x00"
_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"application/x-gzip": zlib.decompressobj,
    b"application/x-bz2": bz2.BZ2Decompressor,
}


def _decompressed(data: bytes) -> bytes:
    """Return the first :data:`MAX_STORED_BYTES`, and one more, of what was compressed."""
    if not data.startswith(_COMPRESSED):
        return data
    kind, _, body = data[len(_COMPRESSED) :].partition(b"\x00")
    if kind not in _DECOMPRESSORS:
        raise ValueError("its compression is not known")
    found: bytes = _DECOMPRESSORS[kind]().decompress(body, MAX_STORED_BYTES + 1)
    return found
