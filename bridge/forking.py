"""Renews connections and locks in forked children.

A forked child inherits its parent's sockets, which two processes cannot share, and locks that
threads of the parent held, which are never released in the child. Celery and kombu renew their
state only after a fork by multiprocessing; this module does so after every fork, and for their
locks, too. Python's own modules (``logging``, ``threading``, ``queue``) do it themselves; its
import system does not.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

__all__ = ["call_in_child", "install"]

_calls: list[Callable[[], None]] = []


def call_in_child(call: Callable[[], None]) -> None:
    """Register a function to call first in each forked child; :func:`install` activates it."""
    _calls.append(call)


@functools.cache
def install() -> None:
    """Renew the state of Celery and taskbridge in all future forked children of this process."""
    if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
        os.register_at_fork(after_in_child=_renew)


def _renew() -> None:
    _renew_imports()
    for call in _calls:
        call()
    if "celery" in sys.modules:
        _renew_locks()
        _renew_celery()


def _renew_imports() -> None:
    """Forget the imports that other threads had begun in the parent.

    Those threads do not exist in the child, and its own import of such a module would wait for
    them for ever.
    """
    locks = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    for name, reference in list(locks.items()):
        if getattr(reference(), "owner", None) == threading.get_ident():
            continue
        if getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False):
            del sys.modules[name]
        del locks[name]


def _renew_celery() -> None:
    """Renew what Celery and kombu themselves renew after a fork by multiprocessing."""
    from celery import _state
    from kombu import pools

    # Dropped and not closed: closing a connection would end it for the parent, too.
    pools.producers.clear()
    pools.connections.clear()
    for app in _state._get_active_apps():
        app._after_fork()
        if "control" in app.__dict__:
            with contextlib.suppress(AttributeError):  # it had no producers yet
                app.control._after_fork()


def _renew_locks() -> None:
    """Replace the locks of Celery's and kombu's signals and cached properties."""
    from celery import _state

    signals = vars(sys.modules["celery.signals"]).values()
    owned = [one for app in _state._get_active_apps() for one in vars(app).values()]
    for one in (*signals, *owned):
        if type(one).__name__ == "Signal":
            one.lock = threading.Lock()
    for one in _cached_properties():
        one.lock = threading.RLock()


class Locking(Protocol):
    """An object with a lock."""

    lock: object


def _cached_properties() -> Iterator[Locking]:
    """Yield the cached properties of Celery and kombu: each has one lock for all objects."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("celery", "kombu"):
            # Not `isinstance`, which would create the object of a lazy proxy.
            for kind in [one for one in vars(module).values() if issubclass(type(one), type)]:
                for one in vars(kind).values():
                    if isinstance(one, functools.cached_property) and hasattr(one, "lock"):
                        yield one
