"""``CallThread``: a thread that makes calls in order; ``Call``: one with a deadline.

It is a real thread under eventlet and gevent as well, where a client library in C would block all
greenlets.
"""

from __future__ import annotations

import _thread
import os
import sys
import time
from _queue import SimpleQueue  # not queue's: eventlet and gevent replace that
from collections.abc import Callable

from bridge.errors import ResultsUnavailable
from bridge.results import system_locks

__all__ = ["SILENT", "Call", "CallThread", "before_fork"]

#: Seconds that a fork waits for a call to end.
FORK_PATIENCE = 1.0
#: Seconds between two checks whether a call is over: first and longest.
LOOK = (0.0005, 0.02)

SILENT = "the result backend does not answer: try again, or check TASKBRIDGE_RESULT_URL"


class Call:
    """A call to be made by a :class:`CallThread`.

    Args:
        call: function without arguments.
        within: seconds that :meth:`wait` waits at most, from now on.
        keep: whether the call is made even after :meth:`wait` has timed out.
    """

    def __init__(self, call: Callable[[], object], within: float, *, keep: bool) -> None:
        self._call, self._keep = call, keep
        self._deadline = time.monotonic() + within
        self._answer: object = None
        self._error: BaseException | None = None
        self._done = self._abandoned = False
        #: Time at which the call began, in monotonic seconds; 0 before.
        self.begun = 0.0

    @property
    def done(self) -> bool:
        """Whether the call has returned or raised."""
        return self._done

    def abandon(self) -> None:
        """Do not make the call, unless it has begun."""
        self._abandoned = True

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

    def wait(self, within: float | None = None) -> object:
        """Return what the call returns.

        Args:
            within: seconds to wait at most, from now on; default what is left of the call's own.

        Raises:
            ResultsUnavailable: there is no answer in time. A call with ``keep`` is made all the
                same, as soon as the backend answers, if the process lives until then.
            Exception: whatever the call raises.
        """
        # It polls, since greenlets and threads both can sleep; the call ends on another thread.
        pause, longest = LOOK
        deadline = self._deadline if within is None else time.monotonic() + within
        while not self._done:
            if time.monotonic() >= deadline:
                if not self._keep:
                    self._abandoned = True
                raise ResultsUnavailable(SILENT)
            time.sleep(pause)
            pause = min(2 * pause, longest)
        if self._error is not None:
            raise self._error
        return self._answer


class CallThread:
    """The thread; it ends once it is replaced and its last call has returned.

    Args:
        calls: queue that it takes calls from.
    """

    def __init__(self, calls: SimpleQueue[Call]) -> None:
        self._calls = calls
        self._call: Call | None = None
        #: Whether a call is under way, or about to begin.
        self.busy = False
        self.replaced = False
        _workers.append(self)
        _start(self._work)

    @property
    def begun(self) -> float | None:
        """Time at which the current call began, in monotonic seconds; None without one."""
        return call.begun or None if (call := self._call) else None

    @property
    def delays_fork(self) -> bool:
        """Whether a fork waits for a call: one is under way, for less than ``FORK_PATIENCE``."""
        now = time.monotonic()
        return self.busy and now - (self.begun or now) < FORK_PATIENCE

    def _work(self) -> None:
        while not self.replaced:
            self._call = self._calls.get()
            self.busy = True
            while _forking and not self._may_be_awaited:
                self.busy = False
                time.sleep(LOOK[0])
                self.busy = True
            self._call.run()
            self._call, self.busy = None, False
        _workers.remove(self)

    @property
    def _may_be_awaited(self) -> bool:
        """Whether a fork waits for the call of another thread, which may wait for this one."""
        others = (one for one in _workers.copy() if one is not self)
        return any(one.begun is not None and one.delays_fork for one in others)


def _start(target: Callable[[], None]) -> None:
    """Run a function on an operating system thread, under eventlet and gevent as well."""
    if (eventlet := sys.modules.get("eventlet.patcher")) is not None:
        system_locks.restore()
        eventlet.original("threading").Thread(target=target, daemon=True).start()
    elif (gevent := sys.modules.get("gevent.monkey")) is not None:
        gevent.get_original("_thread", "start_new_thread")(target, ())
    else:
        _thread.start_new_thread(target, ())


#: Whether this process is about to fork: no call begins then, unless another one that is under way
#: may wait for it. A child would inherit what a client library holds during a call, such as locks
#: of SQLite or of a module that is being imported, for as long as the child lives.
_forking = False
_workers: list[CallThread] = []


def before_fork() -> None:
    """Wait until no call is under way, for a bound; none begins until the fork is over."""
    global _forking
    _forking = True
    deadline = time.monotonic() + FORK_PATIENCE
    while any(one.delays_fork for one in _workers.copy()) and time.monotonic() < deadline:
        time.sleep(LOOK[0])


def _after_fork() -> None:
    global _forking
    _forking = False


def _in_child() -> None:
    _after_fork()
    _workers.clear()  # no thread survives a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
