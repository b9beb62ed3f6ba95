"""Readers of the rows that Celery's result backends store, which are decoded without unpickling.

A reader takes a backend and a task's id, and returns a row: a dict of Celery's fields, unchecked.
"""

from __future__ import annotations

import bz2
import json
import re
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from bridge.results.pickled import OBJECT, plain
from bridge.untyped import ResultBackend

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Executable, Table

__all__ = ["MALFORMED", "MAX_NAME", "MAX_STORED_BYTES", "Reader", "Row", "of_database", "reader_of"]

Row = dict[str, object]
Reader = Callable[[ResultBackend, str], Row | None]

#: Bytes of a stored result that are read at most; of a larger one only the state is known.
MAX_STORED_BYTES = 64 * 1024
#: Longest name of a task that Celery's database has room for, in characters.
MAX_NAME = 155
#: Beginning of the JSON in a key-value backend, for the state of a result that is too large.
_BEGINNING = re.compile(rb'\{"status": ?"(\w{1,50})"')
#: Errors that decoding a malformed value may raise.
MALFORMED = (ValueError, TypeError, OverflowError, RecursionError, EOFError, OSError, zlib.error)


def of_database(backend: ResultBackend, task: str) -> Row | None:
    import sqlalchemy as sa
    from sqlalchemy.exc import DatabaseError

    table = backend.task_cls.__table__
    engine = backend.session_manager.get_engine(backend.url, **backend.engine_options)
    names = ["status", "date_done", *(["name"] if hasattr(backend.task_cls, "name") else [])]
    try:
        with engine.connect() as connection:
            row = connection.execute(_query(table, names, task)).mappings().first()
    except DatabaseError:
        if sa.inspect(engine).has_table(table.name, schema=table.schema):
            raise
        return None  # no worker has stored anything yet
    return None if row is None else {**row, "result": _column(row["result"], row["length"])}


def _query(table: Table, names: list[str], task: str) -> Executable:
    """Return the query of one row, with NULL for columns that are too long."""
    import sqlalchemy as sa

    def short(
        column: ColumnElement[object], length: ColumnElement[int], most: int
    ) -> ColumnElement[object]:
        # The driver's raw value: SQLAlchemy's types unpickle, or allocate as much as a row says.
        return sa.case((length <= most, sa.type_coerce(column, sa.types.NullType())))

    length = sa.func.length(table.c.result)
    columns = [
        short(table.c.result, length, MAX_STORED_BYTES).label("result"),
        length.label("length"),
    ]
    for name in names:  # SQLite does not enforce their length
        size = sa.func.length(sa.cast(table.c[name], sa.String(MAX_NAME)))
        columns.append(short(table.c[name], size, MAX_NAME).label(name))
    return sa.select(*columns).where(table.c.task_id == task)


def _column(value: object, length: int | None) -> object:
    if length is None:
        return None
    try:
        return _decoded(_decompressed(_bytes(value)))
    except MALFORMED:
        return OBJECT


def _of_redis(backend: ResultBackend, task: str) -> Row | None:
    from redis.exceptions import ResponseError

    try:
        value = backend.client.getrange(backend.get_key_for_task(task), 0, MAX_STORED_BYTES)
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return {}
    return _fields(value)


def _of_files(backend: ResultBackend, task: str) -> Row | None:
    try:
        file = backend.open(backend.sep.join((backend.path, backend.get_key_for_task(task))), "rb")
    except FileNotFoundError:
        return None
    with file:
        return _fields(file.read(MAX_STORED_BYTES + 1))


def _of_keys(backend: ResultBackend, task: str) -> Row | None:
    return _fields(backend.get(backend.get_key_for_task(task)))


def _fields(value: object) -> Row | None:
    """Return the row stored under one key; None without one, empty if it is malformed."""
    if not value:
        return None
    try:
        data = _decompressed(_bytes(value))
        fields = _decoded(data) if len(data) <= MAX_STORED_BYTES else _beginning(data)
    except RecursionError:  # nested deeper than this Python's version of json reads
        fields = _beginning(data)
    except MALFORMED:
        return {}
    return fields if isinstance(fields, dict) else {}


def _beginning(data: bytes) -> Row:
    """Return what JSON that cannot be read as a whole begins with: its state."""
    beginning = _BEGINNING.match(data)
    return {"status": beginning[1].decode(), "result": OBJECT} if beginning else {}


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="replace")
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("it is no text")
    return bytes(value)


def _decoded(data: bytes) -> object:
    """Return the value of JSON, or of a pickle of plain data.

    Raises:
        ValueError, TypeError, RecursionError: the data is neither, or is too large.
    """
    if len(data) > MAX_STORED_BYTES:
        raise ValueError("it is too large")
    if data[:1] == b"\x80":  # the first byte of a pickle of protocol 2 or later
        return plain(data)
    return json.loads(data, object_hook=_typed)


def _typed(fields: Row) -> object:
    """Replace kombu's form of dates and the like by ``OBJECT``: the task's value is not JSON."""
    return OBJECT if fields.keys() == {"__type__", "__value__"} else fields


class Decompressor(Protocol):
    """Decompresses one value."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


#: Prefix of results that Celery has compressed (``result_compression``, from 5.7 on).
_COMPRESSED = b"\x00celery-compressed\x00"
_DECOMPRESSORS: dict[bytes, Callable[[], Decompressor]] = {
    b"application/x-gzip": zlib.decompressobj,
    b"application/x-bz2": bz2.BZ2Decompressor,
}


def _decompressed(data: bytes) -> bytes:
    """Return data, decompressed up to :data:`MAX_STORED_BYTES` and one byte if it is compressed."""
    if not data.startswith(_COMPRESSED):
        return data
    kind, _, body = data[len(_COMPRESSED) :].partition(b"\x00")
    if kind not in _DECOMPRESSORS:
        raise ValueError("its compression is not known")
    return _DECOMPRESSORS[kind]().decompress(body, MAX_STORED_BYTES + 1)


#: Reader of each class of backend; None for one whose client library unpickles.
_READERS: dict[str, Reader | None] = {
    "celery.backends.database.DatabaseBackend": of_database,
    "celery.backends.redis.RedisBackend": _of_redis,
    "celery.backends.filesystem.FilesystemBackend": _of_files,
    "celery.backends.cache.CacheBackend": None,
    "celery.backends.base.BaseKeyValueStoreBackend": _of_keys,
}


def reader_of(backend: ResultBackend) -> Reader | None:
    """Return the reader of rows of a Celery backend; None if there is none."""
    names = (f"{cls.__module__}.{cls.__qualname__}" for cls in type(backend).__mro__)
    return next((_READERS[name] for name in names if name in _READERS), None)
