"""What a forked child must not share with its parent.

A child that is forked inherits the sockets of its parent, which two processes cannot use, and locks
that threads of its parent held, which nobody in the child ever releases. Celery and kombu renew
what they share after a fork by multiprocessing; here it is done after every fork, and for their
locks, too. Python's own modules (``logging``, ``threading``, ``queue``) do it themselves.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["call_in_child", "install"]

_calls: list[Callable[[], None]] = []


def call_in_child(call: Callable[[], None]) -> None:
    """Call a function in each child after its fork, before anything else of taskbridge."""
    _calls.append(call)


@functools.cache
def install() -> None:
    """Make this process's future children safe to use with Celery and taskbridge."""
    if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
        os.register_at_fork(after_in_child=_renew)


def _renew() -> None:
    for call in _calls:
        call()
    if "celery" in sys.modules:
        _renew_locks()
        _renew_celery()


def _renew_celery() -> None:
    """Do what Celery and kombu do themselves after a fork by multiprocessing."""
    from celery import _state
    from kombu import pools

    # Dropped and not closed: to close a connection would end it for the parent, too.
    pools.producers.clear()
    pools.connections.clear()
    for app in _state._get_active_apps():
        app._after_fork()
        if "control" in app.__dict__:
            with contextlib.suppress(AttributeError):  # it had no producers yet
                app.control._after_fork()


def _renew_locks() -> None:
    """Give new locks to whatever of Celery and kombu has one for all that is published."""
    from celery import _state

    signals = vars(sys.modules["celery.signals"]).values()
    owned = [one for app in _state._get_active_apps() for one in vars(app).values()]
    for one in (*signals, *owned):
        if type(one).__name__ == "Signal":
            one.lock = threading.Lock()
    for one in _cached_properties():
        one.lock = threading.RLock()


def _cached_properties() -> Iterator[Any]:
    """Yield the cached properties of Celery and kombu: each has a lock for all objects at once."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("celery", "kombu"):
            # By their own type: `isinstance` would make what a proxy stands for.
            for kind in [one for one in vars(module).values() if issubclass(type(one), type)]:
                for one in vars(kind).values():
                    if isinstance(one, functools.cached_property) and hasattr(one, "lock"):
                        yield one
