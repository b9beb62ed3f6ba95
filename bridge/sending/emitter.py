"""The emitter: a bounded outbox and one sender thread per process.

Nothing that a task calls waits for anything: it appends to a queue in memory, or only counts. The
sender samples the bars, gathers log lines, and talks to the broker.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import sys
import threading
import time
from collections import deque
from typing import Any

from bridge import forking, tracing
from bridge.bus.sharding import channel_of, shard_of
from bridge.protocol.event import NAMESPACE, Event, EventType, room_of_job
from bridge.reporting.task_run import INTERVAL, SHORTEST_INTERVAL, Run
from bridge.sending.allowance import Shares
from bridge.sending.emitter_stats import Figures
from bridge.sending.outage import Outage
from bridge.sending.outbox import Entry, Outbox, Push, Report
from bridge.settings import Settings

__all__ = ["Emitter", "close", "emitter_for", "flush_all"]

logger = logging.getLogger(__name__)

#: Heartbeats that go out in the silence after which a server calls a running job stalled.
HEARTBEATS = 3
#: Seconds between attempts to reach a broker that is away: first and longest.
BACKOFF = (0.2, 5.0)
#: Seconds that a process waits, when it exits, for what is still to be sent.
EXIT_FLUSH = 5.0


class Emitter:
    """Sends the events of one process to one channel, from a thread of its own.

    Args:
        settings: which broker and channel.
    """

    def __init__(self, settings: Settings) -> None:
        # Imported when the first event is near, and on this thread: a process that is about to
        # exit cannot import it on another any more.
        import bridge.bus.write_only_manager  # noqa: F401

        self._settings = settings
        self._outbox = Outbox(Shares(settings.line_bytes_per_second), settings.outbox_bytes)
        self._outage = Outage(self._outbox.losses)
        self._unsent: deque[Entry] = deque()
        self._runs: dict[str, Run] = {}
        self._wake = threading.Event()
        self._failures = 0
        self._figures = Figures()
        self._behind = False
        self._closing = False
        self._writers: dict[str, Any] = {}
        self._thread: threading.Thread | None = None

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to publish worked."""
        return self._failures == 0

    def add(self, run: Run) -> None:
        """Sample this run's bars from now on."""
        self._runs[run.task] = run
        self._figures.node = run.node or self._figures.node

    def remove(self, run: Run) -> None:
        """Sample this run no more."""
        self._runs.pop(run.task, None)

    def put(self, run: Run, kind: EventType, data: dict[str, Any] | None = None) -> None:
        """Hand over a lifecycle event; the sender is woken at once."""
        if trace := tracing.carrier():
            data = {**(data or {}), tracing.FIELD: trace}
        self._outbox.put(Report(run, kind, data or {}, time.time()))
        self._start()
        self._hurry()

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, level: str = "", at: float | None = None
    ) -> None:
        """Hand over a log line or a piece of output; it goes with the next sample."""
        self._outbox.put_line(run, kind, text, time.time() if at is None else at, level)
        self._start()

    def push(self, push: Push) -> None:
        """Hand over an application's own event, to be sent as it is."""
        self._outbox.put(push)
        self._start()
        self._hurry()

    def flush(self, timeout: float, *, patient: bool = False) -> bool:
        """Wait until all that was handed over so far has been sent.

        Args:
            timeout: seconds to wait at most.
            patient: wait even while the broker is away; else return at once then, since waiting
                would slow the job.

        Returns:
            Whether it was sent.
        """
        if not self.healthy and not patient:
            return False
        if self._thread is None and not self._outbox:
            return True  # nothing was ever handed over, and an exiting process starts no thread
        sent = threading.Event()
        self._outbox.put(sent)
        self._wake.set()
        return sent.wait(timeout)

    def close(self, timeout: float) -> None:
        """Send what is left, for ``timeout`` seconds at most, and end the connection."""
        if self._thread is None:
            return
        self.flush(timeout, patient=True)
        thread, self._thread = self._thread, None
        self._closing = True
        self._wake.set()
        thread.join(timeout)

    def _hurry(self) -> None:
        # While the broker is away the backoff says when to try again, not the next event.
        if self.healthy:
            self._wake.set()

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
        for writer in self._writers.values():
            writer.close()

    def _pause(self) -> float | None:
        if self._failures:
            first, longest = BACKOFF
            longest_now = min(longest, first * 2.0 ** min(self._failures - 1, 10))
            return longest_now * random.uniform(0.5, 1.0)
        if self._behind:
            return 0.0
        idle = SHORTEST_INTERVAL if self._outbox else None
        return min([run.interval for run in self._running()], default=idle)

    def _running(self) -> list[Run]:
        return list(self._runs.values())

    def cycle(self) -> None:
        """Gather what has come since the last time, and send it."""
        for run in self._running():
            run.notice_cancel()
        if self._failures:
            self._outage.look()
        self._send_unsent()
        self._send_outbox()
        if not self._unsent:
            self._send_progress()

    def _send_outbox(self) -> None:
        # What is gathered is not counted any more, so while the broker is away it stays in the
        # outbox, which is bounded. A flood of lines must not hold up the bars.
        deadline = time.monotonic() + INTERVAL
        while self._outbox and not self._unsent and time.monotonic() < deadline:
            self._unsent.extend(self._outbox.gather())
            self._send_unsent()
        self._behind = bool(self._outbox) and time.monotonic() >= deadline

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
            silent = time.monotonic() - run.sent_at >= self._settings.stalled_after / HEARTBEATS
            event = run.sample(force=silent)
            if event is None:
                continue
            if not self._send(event):
                self._unsent.append(event)  # the next attempt begins with it
                return
            run.sent_at = time.monotonic()

    def _send(self, entry: Event | Push) -> bool:
        """Publish one entry; on failure say so once and keep it."""
        try:
            self._publish(entry)
        except OSError as error:  # first, for a certificate that is refused is a ValueError, too
            return self._note_failure(error)
        except (TypeError, ValueError):
            # Not JSON: it will not be another time either, and must not hold up the others.
            logger.exception("taskbridge: an event that is not JSON was dropped")
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            return self._note_failure(error)
        if self._failures:
            self._failures = 0
            self._outage.over()
        self._figures.published += 1
        return True

    def _note_failure(self, error: Exception) -> bool:
        if self.healthy:
            from bridge.bus import tls

            self._outage.begin(tls.explain(error))
        self._failures += 1
        self._figures.failures += 1
        return False

    def _publish(self, entry: Event | Push) -> None:
        if isinstance(entry, Event):
            writer = self._writer(shard_of(entry.owner or entry.job, self._settings.shards))
            room, message = room_of_job(entry.job), entry.encode()
            counts, held = self._outbox.losses.counts(), self._outbox.held
            # With each beginning, so that servers know the worker of each task.
            if told := self._figures.due(counts, held, always=entry.type == "started"):
                message["data"] = {**message["data"], "emitter": told}
            writer.emit("job", message, namespace=NAMESPACE, room=room)
            if told:
                self._figures.note_told(told)
            return
        # Who is in a room may be at any server, unless the room is an owner's.
        shards = range(self._settings.shards) if entry.shard is None else [entry.shard]
        for shard in shards:
            self._writer(shard).emit(
                entry.event,
                entry.data,
                entry.namespace,
                entry.room,
                skip_sid=entry.skip,
                id=entry.id or None,
            )

    def _writer(self, shard: int) -> Any:
        channel = channel_of(self._settings, shard)
        if channel not in self._writers:
            from bridge.bus.write_only_manager import new_writer

            self._writers[channel] = new_writer(self._settings.replace(channel=channel))
        return self._writers[channel]


_emitters: dict[tuple[int, str, str], Emitter] = {}


def emitter_for(settings: Settings) -> Emitter:
    """Return this process's emitter for a broker and channel.

    Keyed on the pid: a connection or a thread that was there before a fork is of no use after it.
    """
    key = (os.getpid(), settings.events, settings.channel)
    if key not in _emitters:
        _flush_at_exit()
        _emitters[key] = Emitter(settings)
    return _emitters[key]


def _flush_at_exit() -> None:
    """Have a process of multiprocessing, which calls nothing of ``atexit``, flush at its end."""
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util and process and process.parent_process() is not None:
        util.Finalize(None, flush_all, exitpriority=0)


def flush_all(timeout: float = EXIT_FLUSH) -> None:
    """Wait, for ``timeout`` seconds at most in all, until this process has sent everything."""
    deadline = time.monotonic() + timeout
    for (pid, *_), emitter in list(_emitters.items()):
        if pid == os.getpid():
            emitter.flush(max(0.0, deadline - time.monotonic()), patient=True)


def close(settings: Settings, timeout: float = EXIT_FLUSH) -> None:
    """End this process's emitter for a broker and channel, if there is one; see its ``close``."""
    emitter = _emitters.pop((os.getpid(), settings.events, settings.channel), None)
    if emitter is not None:
        emitter.close(timeout)


atexit.register(flush_all)
forking.call_in_child(_emitters.clear)  # with the sockets of the parent
