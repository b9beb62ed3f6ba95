"""Stores of checkpoints in Redis, and in Celery's other key-value result backends."""

from __future__ import annotations

import json

from bridge.checkpoints.records import MAX_BODY, Fences, Record, Store, Taken
from bridge.checkpoints.table import DatabaseStore
from bridge.results.stored_result import can_read, is_database
from bridge.untyped import ResultBackend

__all__ = ["store_in"]

#: Prefix of the task ids under which checkpoints are stored, as results of them would be.
PREFIX = "taskbridge-checkpoint-"

#: Lua functions run by Redis, each atomic. KEYS[1] is a hash of fence, seq and body.
SAVE = """
local fence, seq = tonumber(ARGV[1]), tonumber(ARGV[2])
local known = tonumber(redis.call('HGET', KEYS[1], 'fence') or '-1')
if known > fence then return 0 end
if known < fence or tonumber(redis.call('HGET', KEYS[1], 'seq')) < seq then
  redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'seq', ARGV[2], 'body', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
"""
TAKE_OVER = """
local known = tonumber(redis.call('HGET', KEYS[1], 'fence') or '-1')
if known >= tonumber(ARGV[2]) then return {} end
local fence = string.format('%.0f', math.max(known + 1, tonumber(ARGV[1])))
redis.call('HSET', KEYS[1], 'fence', fence, 'seq', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if redis.call('HSTRLEN', KEYS[1], 'body') > tonumber(ARGV[4]) then return {fence} end
return {fence, redis.call('HGET', KEYS[1], 'body')}
"""
PEEK = """
if redis.call('HSTRLEN', KEYS[1], 'body') > tonumber(ARGV[1]) then return false end
return redis.call('HGET', KEYS[1], 'body')
"""
CLEAR = """
if tonumber(redis.call('HGET', KEYS[1], 'fence') or '-1') > tonumber(ARGV[1]) then return end
if ARGV[2] == '1' then redis.call('DEL', KEYS[1]) else redis.call('HDEL', KEYS[1], 'body') end
"""


def store_in(backend: ResultBackend, retention: float) -> Store | None:
    """Return the store in a Celery result backend.

    Args:
        backend: the backend.
        retention: seconds for which a record is kept after it was stored last.

    Returns:
        None if it keeps nothing that other processes can read, or its client library unpickles.
    """
    if not can_read(backend):
        return None
    if is_database(backend):
        return DatabaseStore(backend, retention)
    if hasattr(backend, "client") and hasattr(backend.client, "eval"):
        return RedisStore(backend, retention)
    return KeyStore(backend)


class RedisStore:
    """A hash for each task, which expires."""

    def __init__(self, backend: ResultBackend, retention: float) -> None:
        self._backend, self._milliseconds = backend, int(retention * 1000)

    def save(self, key: str, record: Record) -> bool:
        """Store a record; see :class:`Store`."""
        return bool(self._run(SAVE, key, *record, self._milliseconds))

    def take_over(self, key: str, fences: Fences) -> Taken | None:
        """Raise the fence; see :class:`Store`."""
        bounds = fences.least, fences.newer
        found = self._run(TAKE_OVER, key, *bounds, self._milliseconds, MAX_BODY)
        if not isinstance(found, list) or not found:
            return None
        body = found[1] if len(found) > 1 else None
        return Taken(int(found[0]), body.decode() if isinstance(body, bytes) else body)

    def peek(self, key: str) -> str | None:
        """Return the stored body; see :class:`Store`."""
        body = self._run(PEEK, key, MAX_BODY)
        return body.decode() if isinstance(body, bytes) else None

    def clear(self, key: str, fence: int, *, first: bool) -> None:
        """Remove the state; see :class:`Store`."""
        self._run(CLEAR, key, fence, int(first))

    def _run(self, script: str, key: str, *arguments: object) -> object:
        name = self._backend.get_key_for_task(f"{PREFIX}{key}")
        found: object = self._backend.client.eval(script, 1, name, *arguments)
        return found


class KeyStore:
    """One value for each task. Its fence is not exact: between a read and a write another may come.

    It is kept as long as the backend keeps results.
    """

    def __init__(self, backend: ResultBackend) -> None:
        self._backend = backend

    def save(self, key: str, record: Record) -> bool:
        """Store a record; see :class:`Store`."""
        known = self._get(key)
        if known is not None and (known.fence, known.seq) >= (record.fence, record.seq):
            return known.fence == record.fence
        self._set(key, record)
        return True

    def take_over(self, key: str, fences: Fences) -> Taken | None:
        """Raise the fence; see :class:`Store`."""
        known = self._get(key) or Record(-1, 0, "")
        if known.fence >= fences.newer:
            return None
        fence = max(known.fence + 1, fences.least)
        self._set(key, Record(fence, 0, known.body))
        return Taken(fence, known.body or None)

    def peek(self, key: str) -> str | None:
        """Return the stored body; see :class:`Store`."""
        known = self._get(key)
        return None if known is None else known.body or None

    def clear(self, key: str, fence: int, *, first: bool) -> None:
        """Remove the state; see :class:`Store`."""
        known = self._get(key)
        if known is None or known.fence > fence:
            return
        if first:
            self._backend.delete(self._name(key))
        else:
            self._set(key, Record(fence, known.seq, ""))

    def _get(self, key: str) -> Record | None:
        value = self._backend.get(self._name(key))
        if not value or len(value) > 2 * MAX_BODY:
            return None
        try:
            fence, seq, body = json.loads(value)
        except (ValueError, TypeError):
            return None
        sound = type(fence) is type(seq) is int and isinstance(body, str)
        return Record(fence, seq, body) if sound else None

    def _set(self, key: str, record: Record) -> None:
        self._backend.set(self._name(key), json.dumps(record))

    def _name(self, key: str) -> object:
        name: object = self._backend.get_key_for_task(f"{PREFIX}{key}")
        return name
