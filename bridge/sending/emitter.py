"""``Emitter``: publishes the events of a process, with a bounded send queue and a sender thread.

What a task calls does not wait for the broker: it appends to the queue in memory, or only counts.
The sender thread samples the bars, gathers log lines, and publishes.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from bridge import tracing
from bridge.bus.sharding import channel_of, shard_of
from bridge.protocol.event import NAMESPACE, Event, EventType, room_of_job
from bridge.protocol.json_types import JSONObject
from bridge.reporting.run import INTERVAL, SHORTEST_INTERVAL, Run
from bridge.sending.allowance import Shares
from bridge.sending.emitter_counters import EmitterCounters
from bridge.sending.outage import Outage
from bridge.sending.outbox import Entry, Outbox, Push, Report
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.bus.write_only_manager import WriteOnlyManager

__all__ = ["Emitter"]

logger = logging.getLogger(__name__)

#: Heartbeat events within ``stalled_after``, the silence after which a server calls a job stalled.
HEARTBEATS = 3
#: Seconds between attempts to reach an unreachable broker: first and longest.
BACKOFF = (0.2, 5.0)


class Emitter:
    """Sends the events of one process to one broker, from a thread of its own.

    Args:
        settings: broker, channel, number of shards and limits.
    """

    def __init__(self, settings: Settings) -> None:
        # Imported late, since it is slow, but on this thread: while a process exits, the sender
        # thread could not import it any more.
        import bridge.bus.write_only_manager  # noqa: F401

        self._settings = settings
        self._outbox = Outbox(Shares(settings.line_bytes_per_second), settings.outbox_bytes)
        self._outage = Outage(self._outbox.losses)
        self._unsent: deque[Entry] = deque()
        self._runs: dict[str, Run] = {}
        self._wake = threading.Event()
        self._failures = 0
        self._figures = EmitterCounters()
        self._behind = False
        self._closing = False
        self._writers: dict[str, WriteOnlyManager] = {}
        self._thread: threading.Thread | None = None

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to publish succeeded; True before the first."""
        return self._failures == 0

    def add(self, run: Run) -> None:
        """Start to sample a run's bars."""
        self._runs[run.task] = run
        self._figures.node = run.node or self._figures.node

    def remove(self, run: Run) -> None:
        """Stop sampling a run's bars."""
        self._runs.pop(run.task, None)

    def put(self, run: Run, kind: EventType, data: JSONObject | None = None) -> None:
        """Queue a lifecycle event, and wake the sender thread."""
        if trace := tracing.carrier():
            data = {**(data or {}), tracing.FIELD: trace}
        self._outbox.put(Report(run, kind, data or {}, time.time()))
        self._start()
        self._hurry()

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, level: str = "", at: float | None = None
    ) -> None:
        """Queue a log line or a chunk of output; it is sent with the next sample."""
        self._outbox.put_line(run, kind, text, time.time() if at is None else at, level)
        self._start()

    def push(self, push: Push) -> None:
        """Queue an application's own event, and wake the sender thread."""
        self._outbox.put(push)
        self._start()
        self._hurry()

    def flush(self, timeout: float, *, patient: bool = False) -> bool:
        """Wait until everything queued so far is sent.

        Args:
            timeout: seconds to wait at most.
            patient: whether to wait even while the broker is unreachable; if False, the default,
                the call then returns at once, since waiting would slow the job.

        Returns:
            Whether everything was sent.
        """
        if not self.healthy and not patient:
            return False
        if self._thread is None and not self._outbox:
            return True  # nothing was ever queued, and an exiting process starts no thread
        sent = threading.Event()
        self._outbox.put(sent)
        self._wake.set()
        return sent.wait(timeout)

    def close(self, timeout: float) -> None:
        """Flush, then stop the thread and its connections; each takes ``timeout`` s at most."""
        if self._thread is None:
            return
        self.flush(timeout, patient=True)
        thread, self._thread = self._thread, None
        self._closing = True
        self._wake.set()
        thread.join(timeout)

    def _hurry(self) -> None:
        # While the broker is unreachable, the backoff decides when to try again, not a new event.
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
        """Notice cancels, and send what is queued, then progress: one round of the thread."""
        for run in self._running():
            run.notice_cancel()
        if self._failures:
            self._outage.look()
        self._send_unsent()
        self._send_outbox()
        if not self._unsent:
            self._send_progress()

    def _send_outbox(self) -> None:
        # Gathered entries no longer count for the outbox's bound, so nothing is gathered while some
        # are unsent. The deadline keeps a flood of lines from delaying the bars.
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
        """Publish one entry; return False, and log once, if it must be tried again."""
        try:
            self._publish(entry)
        except OSError as error:  # first: a refused certificate is a ValueError, too
            return self._note_failure(error)
        except (TypeError, ValueError):
            # Not JSON: it would fail each time, and must not hold up the others.
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
            from bridge.bus import refusals

            self._outage.begin(refusals.explain_events(error, self._settings))
        self._failures += 1
        self._figures.failures += 1
        return False

    def _publish(self, entry: Event | Push) -> None:
        if isinstance(entry, Event):
            writer = self._writer(shard_of(entry.owner or entry.job, self._settings.shards))
            room, message = room_of_job(entry.job), entry.encode()
            counts, held = self._outbox.losses.counts(), self._outbox.held
            # With each `started`, so that servers know the worker of each task.
            if told := self._figures.due(counts, held, always=entry.type == "started"):
                message["data"] = {**message["data"], "emitter": told}
            writer.emit("job", message, namespace=NAMESPACE, room=room)
            if told:
                self._figures.note_told(told)
            return
        # Clients in a room may be connected to servers of any shard, unless it is an owner's room.
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

    def _writer(self, shard: int) -> WriteOnlyManager:
        channel = channel_of(self._settings, shard)
        if channel not in self._writers:
            from bridge.bus.write_only_manager import new_write_only_manager

            self._writers[channel] = new_write_only_manager(self._settings.replace(channel=channel))
        return self._writers[channel]
