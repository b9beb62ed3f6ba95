"""``ForkRelay``: sends what a process that a task has forked reports to the task's emitter.

The events of a run are numbered in one process, so a forked child publishes none: it sends its
lines, and what changes of its bars and steps, to its parent over a socket pair made at the fork. A
child that was not forked (``subprocess``, multiprocessing's ``spawn``) has no current job and no
relay.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import socket
import threading
import time

from bridge.protocol.event import EventType
from bridge.protocol.json_types import JSONObject
from bridge.reporting import current_job
from bridge.reporting.child_bars import ChildBars, ParentBars
from bridge.reporting.meter import Meter
from bridge.reporting.run import Run
from bridge.reporting.steps import NO_STEPS, Label, Steps
from bridge.sending.emitter import Emitter

__all__ = ["ForkRelay", "install", "settle"]

#: Largest message, in bytes: more than the longest chunk of output takes as JSON.
MAX_MESSAGE = 128 * 1024
#: Seconds between two looks at a child's bars and steps.
INTERVAL = 0.1
#: Seconds that a child waits for a parent that does not read before it drops a line.
PATIENCE = 1.0
#: Ends of steps of a child that are sent at once, and seconds between further ones.
AT_ONCE, REST = 100, 0.02


class ForkRelay:
    """The reporter of a forked child, in place of the emitter.

    Args:
        link: socket to the parent; the child's own forked children share it.
    """

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._dropped = 0
        self._bars = ChildBars()
        self._steps: Steps | None = None
        self._told_steps, self._told_at, self._at_once = NO_STEPS, 0.0, AT_ONCE
        self._sending = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, run: Run, kind: EventType, data: JSONObject | None = None) -> None:
        """Do nothing: only the task's own process reports lifecycle events."""

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, level: str = "", at: float | None = None
    ) -> None:
        """Send a line to the parent, which numbers and publishes it."""
        binary = isinstance(text, bytes)
        body = base64.b64encode(text).decode() if isinstance(text, bytes) else text
        when = time.time() if at is None else at
        # Wait for a busy parent, but, once a line was dropped, not again until a send succeeds.
        patience = 0.0 if self._dropped else PATIENCE
        line = [kind, body, binary, level, when, self._dropped, run.step()]
        sent = self._send(line, patience)
        self._dropped = 0 if sent else self._dropped + 1

    def note_bar(self, meter: Meter) -> None:
        """Send a bar from now on, and at once when it is closed: the child may exit then."""
        self._bars.add(meter)
        if meter.closed:
            self._send_changes(PATIENCE)
        else:
            self._watch()

    def note_steps(self, steps: Steps) -> None:
        """Send the steps from now on, and at once where none is open: the child may exit then."""
        self._steps = steps
        if not steps.open and (self._at_once or time.monotonic() - self._told_at > REST):
            patience = PATIENCE if self._at_once else 0.0
            sent = self._send_changes(patience)
            self._at_once = max(0, self._at_once - 1) if sent else 0
        else:
            self._watch()

    def _watch(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()

    def _look(self) -> None:
        pause = threading.Event()
        while (self._bars or self._new_steps()) and not pause.wait(INTERVAL):
            self._send_changes(0.0)

    def _new_steps(self) -> JSONObject:
        """Return the steps if they have changed since they were sent; else nothing."""
        steps = NO_STEPS if self._steps is None else self._steps.sample()
        return NO_STEPS if steps is self._told_steps else steps

    def _send_changes(self, patience: float) -> bool:
        """Send bars and steps that have changed; return whether nothing is left to send."""
        with self._sending:
            bars, steps = self._bars.changes(), self._new_steps()
            if not (bars or steps):
                return True
            if not self._send(["bars", bars, os.getpid(), steps], patience):
                return False
            self._bars.sent(bars)
            self._told_steps, self._told_at = steps or self._told_steps, time.monotonic()
            return True

    def _send(self, message: list[object], patience: float) -> bool:
        """Send a message to the parent; return False if it does not read for so many seconds."""
        data = json.dumps(message).encode()
        with contextlib.suppress(OSError):  # the parent is gone, or the socket is full
            if _ready(self.link, selectors.EVENT_WRITE, patience):
                self.link.send(data, socket.MSG_DONTWAIT)
                return True
        return False

    def remove(self, run: Run) -> None:
        """Do nothing: the parent samples the run."""

    def flush(self, timeout: float, *, patient: bool = False) -> bool:
        """Return True: nothing is queued here."""
        return True


class Link:
    """The parent's end of the socket, with a thread that reads it until the child has exited."""

    def __init__(self, end: socket.socket, run: Run, emitter: Emitter) -> None:
        self._end, self.run, self._emitter = end, run, emitter
        self._bars = ParentBars(run)
        #: Process ids of the children that have sent steps.
        self._children: set[int] = set()
        self._reading = threading.Lock()
        _links.append(self)
        threading.Thread(target=self._read, name="taskbridge-relay", daemon=True).start()

    def _read(self) -> None:
        while _ready(self._end, selectors.EVENT_READ) and self.drain():
            pass
        _links.remove(self)
        with self._reading:
            self._end.close()
            self._bars.end()
            for child in self._children:
                if not self.run.over:
                    self.run.steps.lose(child)

    def drain(self) -> bool:
        """Take what has arrived; return False once the child has exited."""
        with self._reading, contextlib.suppress(OSError):  # nothing there, or closed meanwhile
            while message := self._end.recv(MAX_MESSAGE, socket.MSG_DONTWAIT):
                self._take(message)
            return False
        return True

    def _take(self, message: bytes) -> None:
        kind, body, *rest = json.loads(message)
        if kind == "bars":
            self._bars.take(body)
            self._take_steps(*rest)
            return
        binary, level, at, dropped, step = rest
        self.run.dropped += dropped
        text = base64.b64decode(body) if binary else body
        label = None if step is None else Label(*step)
        self._emitter.put_line_of(label, self.run, kind, text, level, at)

    def _take_steps(self, child: int, steps: JSONObject) -> None:
        if steps and not self.run.over:
            self._children.add(child)
            self.run.steps.take(child, steps)


def _ready(end: socket.socket, what: int, timeout: float | None = None) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(end, what)
        return bool(selector.select(timeout))


_links: list[Link] = []
_pair: list[tuple[socket.socket, socket.socket]] = []


def settle(run: Run) -> None:
    """Take the lines, bars and steps that forked children of a run have sent so far."""
    for link in [link for link in _links if link.run is run]:
        link.drain()


def install() -> None:
    """Register the fork handlers. Calling it again does nothing."""
    global _installed
    if not _installed and hasattr(socket, "SOCK_SEQPACKET") and hasattr(os, "register_at_fork"):
        _installed = True
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)


_installed = False


def _own() -> tuple[Run, Emitter] | None:
    """Return the current run if this process executes it, and is not a forked child."""
    place = current_job.here()
    if place is None or not isinstance(place[1], Emitter):
        return None
    return place[0], place[1]


def _before() -> None:
    if _own():
        _pair[:] = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)]


def _in_parent() -> None:
    if _pair and (place := _own()):
        ours, theirs = _pair.pop()
        theirs.close()
        Link(ours, *place)


def _in_child() -> None:
    _links.clear()
    place = current_job.here()
    if place is None:
        return
    run, emitter = place
    if isinstance(emitter, ForkRelay):
        _relay(run, emitter.link)  # a new count: the parent reports its own drops
    elif _pair:
        ours, theirs = _pair.pop()
        ours.close()
        _relay(run, theirs)


def _relay(run: Run, link: socket.socket) -> None:
    """Enter a run in a child, and send what it reports to the parent."""
    relay = ForkRelay(link)
    run.be_forked(relay.note_bar, relay.note_steps)
    current_job.leave_all()
    current_job.enter(run, relay)
