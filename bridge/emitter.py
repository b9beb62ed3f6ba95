"""The emitter: a bounded outbox and one sender thread per process.

Nothing that a task calls waits for anything: it appends to a queue in memory, or only counts. The
sender samples the bars, gathers log lines, and talks to the broker.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from collections import deque
from typing import Any, NamedTuple

from bridge.events import MAX_EVENT_BYTES, NAMESPACE, Event, EventType, room_of_job
from bridge.run import Run
from bridge.settings import Settings

__all__ = ["Emitter", "close", "emitter_for", "flush_all"]

logger = logging.getLogger(__name__)

#: Entries that the outbox holds before log and output lines are dropped, and counted.
MAX_OUTBOX = 50_000
#: Bytes of text that one event gathers; half an event leaves room for JSON's escapes.
MAX_BATCH = MAX_EVENT_BYTES // 2
#: Seconds without an event of a running job after which a heartbeat goes out.
HEARTBEAT = 5.0
#: Seconds between attempts to reach a broker that is away: first and longest.
BACKOFF = (0.2, 5.0)
#: Seconds that a process waits, when it exits, for what is still to be sent.
EXIT_FLUSH = 5.0

#: What a batch of each gathered type is called in an event's data.
BATCHES: dict[str, str] = {"log": "lines", "output": "chunks"}


class Report(NamedTuple):
    """Something that a run has to tell, not yet an event."""

    run: Run
    kind: EventType
    data: Any
    #: Seconds since the epoch: when it happened, which may be long before it is sent.
    at: float


class Push(NamedTuple):
    """An application's own event."""

    event: str
    data: Any
    namespace: str
    room: str | None


class Emitter:
    """Sends the events of one process to one channel, from a thread of its own.

    Args:
        settings: which broker and channel.
    """

    def __init__(self, settings: Settings) -> None:
        # Imported when the first event is near, and on this thread: a process that is about to
        # exit cannot import it on another any more.
        import bridge.writer  # noqa: F401

        self._settings = settings
        #: What tasks handed over; a threading.Event among it is set once all before it is sent.
        self._outbox: deque[Report | Push | threading.Event] = deque()
        self._unsent: deque[Event | Push | threading.Event] = deque()
        self._runs: dict[str, Run] = {}
        self._wake = threading.Event()
        self._failures = 0
        self._closing = False
        self._writer: Any = None
        self._thread: threading.Thread | None = None

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to publish worked."""
        return self._failures == 0

    def add(self, run: Run) -> None:
        """Sample this run's bars from now on."""
        self._runs[run.task] = run

    def remove(self, run: Run) -> None:
        """Sample this run no more."""
        self._runs.pop(run.task, None)

    def put(self, run: Run, kind: EventType, data: dict[str, Any] | None = None) -> None:
        """Hand over a lifecycle event; the sender is woken at once."""
        self._outbox.append(Report(run, kind, data or {}, time.time()))
        self._start()
        self._wake.set()

    def put_line(self, run: Run, kind: EventType, line: Any) -> None:
        """Hand over a log line or a piece of output; it goes with the next sample."""
        if len(self._outbox) >= MAX_OUTBOX:
            run.dropped += 1
            return
        self._outbox.append(Report(run, kind, line, time.time()))
        self._start()

    def push(self, event: str, data: Any, namespace: str, room: str | None) -> None:
        """Hand over an application's own event, to be sent as it is."""
        self._outbox.append(Push(event, data, namespace, room))
        self._start()
        self._wake.set()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was handed over so far has been sent.

        Returns at once while the broker is away: waiting would slow the job.

        Args:
            timeout: seconds to wait at most.

        Returns:
            Whether it was sent.
        """
        if not self.healthy:
            return False
        sent = threading.Event()
        self._outbox.append(sent)
        self._start()
        self._wake.set()
        return sent.wait(timeout)

    def close(self, timeout: float) -> None:
        """Send what is left, for ``timeout`` seconds at most, and end the connection."""
        self.flush(timeout)
        thread, self._thread = self._thread, None
        if thread is not None:
            self._closing = True
            self._wake.set()
            thread.join(timeout)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._loop, name="taskbridge", daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        while not self._closing:
            self._wake.wait(self._pause())
            self._wake.clear()
            try:
                self.cycle()
            except Exception:  # a sender that dies would silence the whole process
                logger.exception("taskbridge: an event could not be sent")
        if self._writer is not None:
            self._writer.close()

    def _pause(self) -> float | None:
        if self._failures:
            first, longest = BACKOFF
            longest_now = min(longest, first * 2.0 ** min(self._failures - 1, 10))
            return longest_now * random.uniform(0.5, 1.0)
        if self._outbox:
            return min([run.interval for run in self._running()], default=0.02)
        return min([run.interval for run in self._running()], default=None)

    def _running(self) -> list[Run]:
        return list(self._runs.values())

    def cycle(self) -> None:
        """Gather what has come since the last time, and send it."""
        for run in self._running():
            run.notice_cancel()
        self._gather()
        self._send_unsent()
        if self.healthy:
            self._send_progress()

    def _gather(self) -> None:
        while self._outbox:
            entry = self._outbox.popleft()
            if isinstance(entry, Report):
                self._unsent.extend(self._events(entry))
            else:
                self._unsent.append(entry)

    def _events(self, report: Report) -> list[Event]:
        run, kind, data, at = report
        if kind in BATCHES:
            return [run.event(kind, {BATCHES[kind]: self._batch(report)}, at)]
        # The bar's last state is told before the end of the task is.
        last = run.sample()
        return [*([last] if last else []), run.event(kind, data, at)]

    def _batch(self, first: Report) -> list[Any]:
        """Return the first line and those that directly follow it, up to an event's size."""
        lines, size = [first.data], _size(first.data)
        while self._outbox:
            entry = self._outbox[0]
            if not isinstance(entry, Report) or entry[:2] != first[:2]:
                break
            size += _size(entry.data)
            if size > MAX_BATCH:
                break
            lines.append(entry.data)
            self._outbox.popleft()
        return lines

    def _send_unsent(self) -> None:
        while self._unsent:
            entry = self._unsent[0]
            if isinstance(entry, threading.Event):
                entry.set()
            elif not self._send(entry):
                return
            self._unsent.popleft()

    def _send_progress(self) -> None:
        for run in self._running():
            silent = time.monotonic() - run.sent_at >= HEARTBEAT
            event = run.sample(force=silent)
            if event is not None and self._send(event):
                run.sent_at = time.monotonic()

    def _send(self, entry: Event | Push) -> bool:
        """Publish one entry; on failure say so once and keep it."""
        try:
            self._publish(entry)
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            if self.healthy:
                logger.warning("taskbridge: the broker is away, events are kept: %s", error)
            self._failures += 1
            return False
        self._failures = 0
        return True

    def _publish(self, entry: Event | Push) -> None:
        if self._writer is None:
            from bridge.writer import new_writer

            self._writer = new_writer(self._settings)
        if isinstance(entry, Event):
            room = room_of_job(entry.job)
            self._writer.emit("job", entry.encode(), namespace=NAMESPACE, room=room)
        else:
            self._writer.emit(entry.event, entry.data, entry.namespace, entry.room)


def _size(line: Any) -> int:
    return len(line if isinstance(line, str) else line["message"]) + 64


_emitters: dict[tuple[int, str, str], Emitter] = {}


def emitter_for(settings: Settings) -> Emitter:
    """Return this process's emitter for a broker and channel.

    Keyed on the pid: a connection or a thread that was there before a fork is of no use after it.
    """
    key = (os.getpid(), settings.broker, settings.channel)
    if key not in _emitters:
        _emitters[key] = Emitter(settings)
    return _emitters[key]


def flush_all(timeout: float = EXIT_FLUSH) -> None:
    """Wait, for ``timeout`` seconds at most in all, until this process has sent everything."""
    deadline = time.monotonic() + timeout
    for (pid, *_), emitter in list(_emitters.items()):
        if pid == os.getpid():
            emitter.flush(max(0.0, deadline - time.monotonic()))


def close(settings: Settings, timeout: float = EXIT_FLUSH) -> None:
    """End this process's emitter for a broker and channel, if there is one; see its ``close``."""
    emitter = _emitters.pop((os.getpid(), settings.broker, settings.channel), None)
    if emitter is not None:
        emitter.close(timeout)


atexit.register(flush_all)
