"""Locks of the standard library that greenlets of eventlet share with a thread.

eventlet makes every lock one of greenlets, which cannot wake a waiter in another thread of the
operating system. Client libraries log on the thread that calls the result backend: a greenlet that
waits to log while the thread does, or the other way round, would wait for ever. The holder of one
of these locks does not wait for another greenlet, so that they can be the operating system's.
"""

from __future__ import annotations

import functools
import logging
import threading

__all__ = ["restore"]


@functools.cache
def restore() -> None:
    """Make the locks of ``logging`` and ``threading`` the operating system's, under eventlet."""
    from eventlet import patcher

    original = patcher.original("threading")
    # logging makes each handler's lock with it, and takes the name of a record's thread from it:
    # eventlet's would take the lock of the list of threads.
    logging.threading = original  # type: ignore[attr-defined]
    logging._lock = original.RLock()  # type: ignore[attr-defined]
    threading._active_limbo_lock = original.RLock()  # type: ignore[attr-defined]
    for reference in logging._handlerList:  # type: ignore[attr-defined]
        handler = reference()
        # One that is held is of a handler that waits for a greenlet: it stays what it is.
        if handler and (lock := handler.lock) and lock.acquire(blocking=False):
            handler.createLock()
            lock.release()
