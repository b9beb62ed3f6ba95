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
from collections.abc import Sequence
from itertools import islice

from bridge import tracing
from bridge.protocol.event import Event, EventType
from bridge.protocol.json_types import JSONObject
from bridge.reporting.run import INTERVAL, SHORTEST_INTERVAL, Run
from bridge.reporting.steps import Label
from bridge.sending.allowance import Shares
from bridge.sending.outage import Outage
from bridge.sending.outbox import Entry, Outbox, Push, Report
from bridge.sending.publisher import Publisher
from bridge.settings import Settings

__all__ = ["Emitter"]

logger = logging.getLogger(__name__)

#: Heartbeat events within ``stalled_after``, the silence after which a server calls a job stalled.
HEARTBEATS = 3
#: Seconds between attempts to reach an unreachable broker: first and longest.
BACKOFF = (0.2, 5.0)
#: Seconds that the sender thread rests after it has sent something, unless more than ``queued``
#: events wait.
REST = 0.02
#: Entries whose confirms are awaited together; all of them are repeated if one is not confirmed.
TOGETHER = 100


class Emitter:
    """Sends the events of one process to one broker, from a thread of its own.

    Args:
        settings: broker, channel, number of shards and limits.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._outbox = Outbox(Shares(settings.line_bytes_per_second), settings.outbox_bytes)
        self._outage = Outage(self._outbox.losses)
        self._publisher = Publisher(settings, self._outbox)
        self._unsent: deque[Entry] = deque()
        self._runs: dict[str, Run] = {}
        self._wake = threading.Event()
        #: Set, beside ``_wake``, for what is sent without a rest.
        self._urgent = threading.Event()
        self._rests_until = 0.0
        self._failures = 0
        self._behind = False
        self._closing = False
        self._thread: threading.Thread | None = None
        #: The caller that removes the item starts the sender thread. A fork could leave a lock
        #: locked; ``list.pop`` needs none.
        self._starts = [True]

    @property
    def healthy(self) -> bool:
        """Whether the last attempt to publish succeeded; True before the first."""
        return self._failures == 0

    def add(self, run: Run) -> None:
        """Start to sample a run's bars."""
        self._runs[run.task] = run
        counters = self._publisher.counters
        counters.node = run.node or counters.node

    def remove(self, run: Run) -> None:
        """Stop sampling a run's bars."""
        self._runs.pop(run.task, None)

    def put(self, run: Run, kind: EventType, data: JSONObject | None = None) -> None:
        """Queue a lifecycle event, and wake the sender thread.

        Of many ``queued`` events, those of ``REST`` seconds are sent together: a process that
        enqueues one job after the other would share its time with the sender thread at each.
        """
        if trace := tracing.carrier():
            data = data or {}
            data = {**data, tracing.FIELD: {**data.get(tracing.FIELD, {}), **trace}}
        self._outbox.put(Report(run, kind, data or {}, time.time()))
        self._start()
        self._hurry(urgent=kind != "queued")

    def put_line(
        self, run: Run, kind: EventType, text: str | bytes, level: str = "", at: float | None = None
    ) -> None:
        """Queue a log line or a chunk of output; it is sent with the next sample."""
        self.put_line_of(run.step(), run, kind, text, level, at)

    def put_line_of(
        self,
        step: Label | None,
        run: Run,
        kind: EventType,
        text: str | bytes,
        level: str = "",
        at: float | None = None,
    ) -> None:
        """Queue a line as :meth:`put_line` does, of a step of the run; None for none."""
        self._outbox.put_line(run, kind, text, time.time() if at is None else at, level, step)
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
        self._wake_now()
        return sent.wait(timeout)

    def close(self, timeout: float) -> None:
        """Flush, then stop the thread and its connections; each takes ``timeout`` s at most."""
        if self._thread is None:
            return
        self.flush(timeout, patient=True)
        thread, self._thread = self._thread, None
        self._closing = True
        self._wake_now()
        thread.join(timeout)

    def _hurry(self, *, urgent: bool = True) -> None:
        # While the broker is unreachable, the backoff decides when to try again, not a new event.
        if self.healthy:
            (self._wake_now if urgent else self._wake.set)()

    def _wake_now(self) -> None:
        self._urgent.set()
        self._wake.set()

    def _start(self) -> None:
        if self._thread is None and self._starts:
            try:
                self._starts.pop()
            except IndexError:
                return  # another caller has removed it since the check
            self._thread = threading.Thread(target=self._loop, name="taskbridge", daemon=True)
            self._thread.start()

    def _loop(self) -> None:
        while not self._closing:
            self._wake.wait(self._pause())
            self._urgent.wait(max(0.0, self._rests_until - time.monotonic()))
            self._wake.clear()
            self._urgent.clear()
            try:
                self.cycle()
            except Exception:  # a sender that dies would silence the whole process
                logger.exception("taskbridge: an event could not be sent")
            self._rests_until = time.monotonic() + REST
        self._publisher.close()

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
            if isinstance(mark := self._unsent[0], threading.Event):
                mark.set()
                self._unsent.popleft()
                continue
            entries = self._together()
            if not self._send(entries):
                return
            for _ in entries:
                self._unsent.popleft()

    def _together(self) -> list[Event | Push]:
        """Return the unsent entries up to the next mark of ``flush``, at most ``TOGETHER``."""
        entries: list[Event | Push] = []
        for entry in islice(self._unsent, TOGETHER):
            if isinstance(entry, threading.Event):
                break
            entries.append(entry)
        return entries

    def _send_progress(self) -> None:
        for run in self._running():
            silent = time.monotonic() - run.sent_at >= self._settings.stalled_after / HEARTBEATS
            event = run.sample(force=silent)
            if event is None:
                continue
            if not self._send([event]):
                self._unsent.append(event)  # the next attempt begins with it
                return
            run.sent_at = time.monotonic()

    def _send(self, entries: Sequence[Event | Push]) -> bool:
        """Publish entries; return False, and log once, if they must be tried again."""
        try:
            self._publisher.publish(entries)
        except OSError as error:  # first: a refused certificate is a ValueError, too
            return self._note_failure(error)
        except (TypeError, ValueError):
            if len(entries) > 1:
                return all(self._send([entry]) for entry in entries)
            # Not JSON: it would fail each time, and must not hold up the others.
            logger.exception("taskbridge: an event that is not JSON was dropped")
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            return self._note_failure(error)
        if self._failures:
            self._failures = 0
            self._outage.over()
        return True

    def _note_failure(self, error: Exception) -> bool:
        if self.healthy:
            from bridge.bus import refusals

            self._outage.begin(refusals.explain_events(error, self._settings))
        self._failures += 1
        self._publisher.counters.failures += 1
        return False
