"""Calls to the result backend, on a thread of their own and with a bound on every wait.

A result backend may accept a connection and never answer, and few client libraries bound that. So
no part of taskbridge calls one on its own thread. One thread per process and backend does, in the
order of the calls. While it is stuck, other calls fail at once; after a pause a fresh thread, with
connections of its own, tries again. The number of stuck threads is bounded.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from _queue import SimpleQueue  # not queue's: eventlet and gevent replace that
from collections.abc import Callable
from functools import partial
from typing import Any

from bridge.errors import ResultsUnavailable

__all__ = ["PATIENCE", "SILENT", "Aside", "Call", "aside_for"]

#: Seconds that a caller waits for the result backend, by default and at most.
PATIENCE = 2.0
#: Seconds after which a fresh thread takes a stuck one's place: at first, and at most.
PAUSE = (5.0, 300.0)
#: Stuck threads that are left behind at most.
MAX_STUCK = 8
#: Calls that may wait for a backend that does not answer, without anybody waiting for them.
MAX_KEPT = 10_000
#: Seconds that a fork waits for a call to end.
FORK_PATIENCE = 1.0
#: Seconds between two looks whether a call is over: first and longest.
LOOK = (0.0005, 0.02)

SILENT = "the result backend does not answer: try again, or check TASKBRIDGE_RESULT_URL"


class Call:
    """A call that was handed over.

    Args:
        call: what is called, without arguments.
        within: seconds that :meth:`wait` waits at most, from now on.
        keep: whether the call is made even if nobody waits for it any more.
    """

    def __init__(self, call: Callable[[], Any], within: float, *, keep: bool) -> None:
        self._call, self._keep = call, keep
        self._deadline = time.monotonic() + within
        self._answer: Any = None
        self._error: BaseException | None = None
        self._done = self._abandoned = False
        #: When it was begun, in monotonic seconds; 0 before.
        self.begun = 0.0

    def run(self) -> None:
        """Make the call, unless it was abandoned."""
        if self._abandoned:
            return
        self.begun = time.monotonic()
        try:
            self._answer = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self._error = error
        self._done = True

    def wait(self) -> Any:
        """Return what the call returns.

        Raises:
            ResultsUnavailable: there is no answer in time. A call that is kept is made all the
                same, as soon as the backend answers, if the process lives until then.
            Exception: whatever the call raises.
        """
        # By sleeping, which greenlets and threads both can: it ends on a thread of neither.
        pause, longest = LOOK
        while not self._done:
            if time.monotonic() >= self._deadline:
                self._abandoned = not self._keep
                raise ResultsUnavailable(SILENT)
            time.sleep(pause)
            pause = min(2 * pause, longest)
        if self._error is not None:
            raise self._error
        return self._answer


class Aside:
    """Makes calls on a thread of its own, one after the other. Safe to share between threads."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Call] = SimpleQueue()
        # Held by callers alone, never on the thread: under eventlet it is a lock of greenlets.
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._stuck: list[Worker] = []
        self._renew_at = 0.0
        self._pause = PAUSE[0]

    def ask(self, call: Callable[..., Any], *arguments: Any, within: float = PATIENCE) -> Any:
        """Return what ``call(*arguments)`` returns.

        Args:
            call: what may block.
            arguments: its positional arguments.
            within: seconds to wait at most.

        Raises:
            ResultsUnavailable: there is no answer in time, or an earlier call is stuck.
            Exception: whatever the call raises.
        """
        one = Call(partial(call, *arguments), within, keep=False)
        if not self._ready(within):
            raise ResultsUnavailable(SILENT)
        self._calls.put(one)
        return one.wait()

    def begin(self, call: Callable[..., Any], *arguments: Any, within: float = PATIENCE) -> Call:
        """Have ``call(*arguments)`` made, however long that takes; return it to be waited for.

        Args:
            call: what may block.
            arguments: its positional arguments.
            within: seconds that the answer is waited for at most; none while an earlier call is
                stuck.

        Raises:
            ResultsUnavailable: too many calls wait already.
        """
        ready = self._ready(within)
        if self._calls.qsize() >= MAX_KEPT:
            raise ResultsUnavailable(SILENT)
        one = Call(partial(call, *arguments), within if ready else 0.0, keep=True)
        self._calls.put(one)
        return one

    def rest(self, deadline: float) -> None:
        """Wait until no call is under way, but for one that is stuck.

        Args:
            deadline: monotonic seconds.
        """
        while (worker := self._worker) is not None and worker.busy:
            now = time.monotonic()
            if now >= deadline or now - (worker.begun or now) >= FORK_PATIENCE:
                return
            time.sleep(LOOK[0])

    def _ready(self, within: float) -> bool:
        """Whether a thread is there that no call has held up for so many seconds."""
        with self._lock:
            if self._worker is None:
                self._worker = Worker(self._calls)
            begun, now = self._worker.begun, time.monotonic()
            if begun is None:
                # What is stuck may end at any time; its thread ends with it.
                self._stuck = [one for one in self._stuck if one.begun is not None]
                self._pause = PAUSE[0]
                return True
            return now < begun + min(within, PATIENCE) or self._renew(begun, now)

    def _renew(self, begun: float, now: float) -> bool:
        """Put a fresh thread in a stuck one's place, if it is time for that."""
        self._stuck = [one for one in self._stuck if one.begun is not None]
        if now < max(self._renew_at, begun + PAUSE[0]) or len(self._stuck) >= MAX_STUCK:
            return False
        assert self._worker is not None
        self._worker.replaced = True
        self._stuck.append(self._worker)
        self._worker = Worker(self._calls)
        self._renew_at = now + self._pause
        self._pause = min(2 * self._pause, PAUSE[1])
        return True


class Worker:
    """The thread, which ends once it was replaced and its last call has come back.

    Args:
        calls: what it takes calls from.
    """

    def __init__(self, calls: SimpleQueue[Call]) -> None:
        self._calls = calls
        self._call: Call | None = None
        #: Whether it makes a call, or is about to.
        self.busy = False
        self.replaced = False
        _start(self._work)

    @property
    def begun(self) -> float | None:
        """When the call that is under way was begun, in monotonic seconds; None without one."""
        return call.begun or None if (call := self._call) else None

    def _work(self) -> None:
        while not self.replaced:
            self._call = self._calls.get()
            self.busy = True
            while _forking:
                self.busy = False
                time.sleep(LOOK[0])
                self.busy = True
            self._call.run()
            self._call, self.busy = None, False


def _start(target: Callable[[], None]) -> None:
    """Run a function on a thread of the operating system, in a process of greenlets as well."""
    if (eventlet := sys.modules.get("eventlet.patcher")) is not None:
        eventlet.original("threading").Thread(target=target, daemon=True).start()
    elif (gevent := sys.modules.get("gevent.monkey")) is not None:
        gevent.get_original("_thread", "start_new_thread")(target, ())
    else:
        _thread.start_new_thread(target, ())


_asides: dict[tuple[int, str], Aside] = {}


def aside_for(app: Any) -> Aside:
    """Return what calls the result backend of a Celery application, in this process."""
    key = os.getpid(), str(app.conf.result_backend)  # no thread survives a fork
    return _asides.get(key) or _asides.setdefault(key, Aside())


#: Whether this process is about to fork: no call begins then. A child would inherit what a client
#: library holds in the middle of one: SQLite's locks, for one, for as long as the child lives.
_forking = False


def _before_fork() -> None:
    global _forking
    _forking = True
    deadline = time.monotonic() + FORK_PATIENCE
    for one in list(_asides.values()):
        one.rest(deadline)


def _after_fork() -> None:
    global _forking
    _forking = False


def _in_child() -> None:
    _after_fork()
    _asides.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
