"""Celery's database result backend on SQLite, for a worker that forks while it stores.

SQLite counts the locks of a process in its memory. A child that is forked while another thread of
its parent is in a transaction inherits that count without the lock, and finds its database locked
for as long as it lives. A worker's parent stores that tasks were revoked while Celery's supervisor
thread may be replacing a child.
"""

from __future__ import annotations

import os
import threading

from celery.backends.database import DatabaseBackend
from celery.backends.database.session import SessionManager
from sqlalchemy import Dialect, Engine, event

from bridge.results import call_thread

__all__ = ["ForkSafeBackend"]

#: Seconds that a fork waits for connections to be returned.
PATIENCE = 10.0


class _Connections:
    """Counts the connections in use or being made; a fork waits until there are none."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(
            before=self._before, after_in_parent=self._after, after_in_child=self._reset
        )

    def _reset(self) -> None:
        self._used, self._changed = 0, threading.Condition()

    def _before(self) -> None:
        # Calls that the fork waits for take connections: they end before none is taken any more.
        call_thread.before_fork()
        self._changed.acquire()
        # After that the process forks anyway: a child that may be locked out is better than none.
        self._changed.wait_for(lambda: self._used <= 0, PATIENCE)

    def _after(self) -> None:
        self._changed.release()

    def take(self, *_: object) -> None:
        """Count a connection that was checked out, or is being made."""
        with self._changed:
            self._used += 1

    def give_back(self, *_: object) -> None:
        """Count a connection that was returned, or has been made."""
        with self._changed:
            self._used -= 1
            self._changed.notify_all()


_connections = _Connections()


class _Sessions(SessionManager):
    def get_engine(self, dburi: str, **options: object) -> Engine:
        engine: Engine = super().get_engine(dburi, **options)
        if not event.contains(engine, "checkout", _connections.take):
            event.listen(engine, "checkout", _connections.take)
            event.listen(engine, "checkin", _connections.give_back)
            # A connection that is being made takes SQLite's locks, too.
            event.listen(engine, "do_connect", _connect)
        return engine


def _connect(
    dialect: Dialect, _: object, arguments: list[object], options: dict[str, object]
) -> object:
    _connections.take()
    try:
        return dialect.connect(*arguments, **options)
    finally:
        _connections.give_back()


class ForkSafeBackend(DatabaseBackend):
    """Stores results in SQLite; forks wait for the connections in use."""

    def __init__(self, *arguments: object, **options: object) -> None:
        super().__init__(*arguments, **options)
        own, stock = _Sessions(), vars(self)["session_manager"]
        own.engine_callback = getattr(stock, "engine_callback", None)  # of newer Celery versions
        self.session_manager = own
