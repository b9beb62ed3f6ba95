"""What a worker loads through TASKBRIDGE_INCLUDE that is to fork in the middle of an import."""

from __future__ import annotations

import os
import sys
import threading
from importlib.util import spec_from_loader

from celery import signals
from kombu.transport import supports_librabbitmq

#: Seconds that a fork waits for the import, and the import for the fork.
PATIENCE = 10.0
#: Name of the thread that imports.
IMPORTER = "importer"

begun, forked = threading.Event(), threading.Event()


class Librabbitmq:
    """Finds the module that kombu looks for at each new connection, and then finds it missing."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        """Find it on the thread that imports; see ``importlib``."""
        mine = name == "librabbitmq" and threading.current_thread().name == IMPORTER
        return spec_from_loader(name, Librabbitmq()) if mine else None

    @staticmethod
    def create_module(spec):  # type: ignore[no-untyped-def]
        """Let the worker fork here."""
        begun.set()
        forked.wait(PATIENCE)
        raise ImportError

    @staticmethod
    def exec_module(module):  # type: ignore[no-untyped-def]
        """Never be called: there is no module."""


@signals.worker_before_create_process.connect
def _import(**_: object) -> None:
    """Look for librabbitmq on a thread, as kombu does there for a new connection."""
    begun.clear()
    forked.clear()
    threading.Thread(target=supports_librabbitmq, name=IMPORTER).start()
    if not begun.wait(PATIENCE):
        os.write(2, b"no import was under way\n")


sys.meta_path.insert(0, Librabbitmq)
os.register_at_fork(after_in_parent=forked.set)
