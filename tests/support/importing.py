"""What a worker loads through TASKBRIDGE_INCLUDE that is to fork in the middle of an import."""

from __future__ import annotations

import os
import sys
import threading
from importlib.util import spec_from_loader

from celery import signals

#: Seconds that the fork waits for the import, and the import for the fork.
PATIENCE = 10.0

parent = os.getpid()
armed, begun, forked = threading.Event(), threading.Event(), threading.Event()


class Librabbitmq:
    """Finds the module that kombu looks for at each new connection, and then finds it missing."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        """Find it on the thread that sends a worker's events alone; see ``importlib``."""
        mine = os.getpid() == parent and threading.current_thread().name == "taskbridge"
        return spec_from_loader(name, Librabbitmq()) if name == "librabbitmq" and mine else None

    @staticmethod
    def create_module(spec):  # type: ignore[no-untyped-def]
        """Let Python make the module."""

    @staticmethod
    def exec_module(module):  # type: ignore[no-untyped-def]
        """Fork here."""
        begun.set()
        forked.wait(PATIENCE)
        raise ImportError


def _before() -> None:
    if armed.is_set() and not begun.wait(PATIENCE):
        os.write(2, b"no import was under way\n")


sys.meta_path.insert(0, Librabbitmq)
signals.task_received.connect(lambda **_: armed.set(), weak=False)
os.register_at_fork(before=_before, after_in_parent=lambda: begun.is_set() and forked.set())
