"""Stores of reservations: in Redis, and in the database that Celery stores results in."""

from __future__ import annotations

from bridge.repeating.reservation import Reservation, ReservationStore
from bridge.repeating.table import DatabaseReservations
from bridge.results.stored_result import can_read, is_database
from bridge.untyped import ResultBackend

__all__ = ["RedisReservations", "reservations_in"]

#: Prefix of the task ids under which reservations are stored, as results of them would be.
PREFIX = "taskbridge-reservation-"

#: Lua functions run by Redis, each atomic. KEYS[1] is a hash with the fields of a reservation.
RESERVE = """
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'job', ARGV[1], 'digest', ARGV[2], 'claim', ARGV[3],
             'published', ARGV[4], 'at', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return redis.call('HMGET', KEYS[1], 'job', 'digest', 'claim', 'published', 'at')
"""
FIND = "return redis.call('HMGET', KEYS[1], 'job', 'digest', 'claim', 'published', 'at')"
CLAIM = """
if redis.call('HGET', KEYS[1], 'published') ~= '0' then return 0 end
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'claim', ARGV[2], 'at', ARGV[3])
return 1
"""
MARK = """
if redis.call('HGET', KEYS[1], 'job') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'published', '1')
end
"""


def reservations_in(backend: ResultBackend, retention: float) -> ReservationStore | None:
    """Return the store in a Celery result backend.

    Args:
        backend: the backend.
        retention: seconds for which a key is kept after it was reserved.

    Returns:
        None if the backend cannot reserve: it keeps nothing that other processes can read, or
        cannot set what is not set in one step.
    """
    if not can_read(backend):
        return None
    if is_database(backend):
        return DatabaseReservations(backend, retention)
    if hasattr(backend, "client") and hasattr(backend.client, "eval"):
        return RedisReservations(backend, retention)
    return None


class RedisReservations:
    """A hash for each key, which expires."""

    def __init__(self, backend: ResultBackend, retention: float) -> None:
        self._backend, self._milliseconds = backend, int(retention * 1000)

    def reserve(self, key: str, new: Reservation) -> Reservation:
        """Store a reservation; see :class:`ReservationStore`."""
        fields = new.job, new.digest, new.claim, int(new.published), repr(new.at)
        return _reservation(self._run(RESERVE, key, *fields, self._milliseconds)) or new

    def find(self, key: str) -> Reservation | None:
        """Return the reservation of a key; see :class:`ReservationStore`."""
        return _reservation(self._run(FIND, key))

    def claim(self, key: str, before: str, after: str, at: float) -> bool:
        """Replace the claim and its time; see :class:`ReservationStore`."""
        return bool(self._run(CLAIM, key, before, after, repr(at)))

    def mark(self, key: str, job: str) -> None:
        """Note that the job is published; see :class:`ReservationStore`."""
        self._run(MARK, key, job)

    def _run(self, script: str, key: str, *arguments: object) -> object:
        name = self._backend.get_key_for_task(f"{PREFIX}{key}")
        found: object = self._backend.client.eval(script, 1, name, *arguments)
        return found


def _reservation(found: object) -> Reservation | None:
    if not isinstance(found, list) or len(found) != 5 or None in found:
        return None
    job, digest, claim, published, at = (
        one.decode() if isinstance(one, bytes) else str(one) for one in found
    )
    return Reservation(job, digest, claim, published == "1", float(at))
