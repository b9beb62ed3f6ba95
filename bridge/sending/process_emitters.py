"""The emitters of this process: one for each broker and channel, flushed when the process exits."""

from __future__ import annotations

import atexit
import os
import sys
import time

from bridge import forking
from bridge.sending.emitter import Emitter
from bridge.settings import Settings

__all__ = ["TASK_FLUSH", "close", "emitter_for", "flush_all"]

#: Seconds that the end of a task, or of an attempt, waits until its events are sent.
TASK_FLUSH = 2.0
#: Seconds that an exiting process waits until its events are sent.
EXIT_FLUSH = 5.0

_emitters: dict[tuple[int, str, str], Emitter] = {}


def emitter_for(settings: Settings) -> Emitter:
    """Return this process's emitter for a broker and channel.

    Keyed on the pid: connections and threads of before a fork cannot be used after it.
    """
    key = (os.getpid(), settings.events, settings.channel)
    if (known := _emitters.get(key)) is not None:
        return known
    _flush_at_exit()
    # Of several threads at once, all get the emitter of one. A fork could leave a lock locked.
    return _emitters.setdefault(key, Emitter(settings))


def _flush_at_exit() -> None:
    """Flush at the end of a multiprocessing child, which runs no ``atexit`` handlers."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util and process and process.parent_process() is not None:
        util.Finalize(None, flush_all, exitpriority=0)


def flush_all(timeout: float = EXIT_FLUSH) -> None:
    """Flush all emitters of this process, within ``timeout`` seconds in all."""
    deadline = time.monotonic() + timeout
    for (pid, *_), emitter in list(_emitters.items()):
        if pid == os.getpid():
            emitter.flush(max(0.0, deadline - time.monotonic()), patient=True)


def close(settings: Settings, timeout: float = EXIT_FLUSH) -> None:
    """Close this process's emitter for a broker and channel, if there is one."""
    emitter = _emitters.pop((os.getpid(), settings.events, settings.channel), None)
    if emitter is not None:
        emitter.close(timeout)


atexit.register(flush_all)
forking.call_in_child(_emitters.clear)  # they have the parent's sockets
