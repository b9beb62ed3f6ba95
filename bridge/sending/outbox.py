"""``Outbox``: the bounded send queue of a process, which gathers its entries into events."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

from bridge.protocol.event import Event
from bridge.reporting.run import Run
from bridge.sending.allowance import Shares
from bridge.sending.batches import EVENT_OVERHEAD, LINES, Batches, travel_size
from bridge.sending.entries import LINE_MEMORY, Entry, Held, Line, Push, Report, Summary
from bridge.sending.waiting import Waiting

__all__ = ["LINES", "LINE_MEMORY", "Entry", "Line", "Outbox", "Push", "Report"]

logger = logging.getLogger(__name__)

#: Default bound of an outbox, in bytes of memory.
MAX_BYTES = 32 * 1024 * 1024
#: Bytes of JSON that are gathered at a time; the rest stays in the bounded queue.
MAX_GATHERED = 512 * 1024
#: Bytes of the last lines before a lifecycle event of their run that pass despite the rate limit.
LAST_WORDS = 8 * 1024


class Outbox(Waiting):
    """A bounded send queue that gathers its entries into events for the sender thread.

    Args:
        shares: rate limits of runs and own events; default no limits.
        max_bytes: bytes of memory that its entries may take; default 32 MiB.
    """

    def __init__(self, shares: Shares[Run] | None = None, max_bytes: int = MAX_BYTES) -> None:
        super().__init__(max_bytes)
        self._shares = shares
        self._pushed_too_much = False

    def gather(self, most: int = MAX_GATHERED) -> Iterator[Entry]:
        """Remove the oldest entries and yield them; lines of one run and type that no other kind
        of entry separates become one event, or several if they are too large for one.

        Args:
            most: bytes of JSON after which the rest is left for the next call; default 512 KiB.
        """
        if self._overflowed:
            self._overflowed = False
            yield from self.losses.notices()
            with self._lock:
                events = list(self._tally.events())
            yield from events
        batches = Batches()
        while most > 0 and (entry := self._next()):
            if isinstance(entry, Line):
                most -= (size := travel_size(entry))
                batches.add(entry, size)
            elif isinstance(entry, Summary):
                most -= EVENT_OVERHEAD + len(entry)
                yield from self._close(batches)
                yield entry.event()
            else:
                most -= EVENT_OVERHEAD + len(entry.text)
                yield from self._close(batches, entry.entry)
                yield from self._whole(entry)
        yield from self._close(batches)

    def _close(
        self, batches: Batches, before: Report | Push | threading.Event | None = None
    ) -> Iterator[Event]:
        """Yield the events of the batches, without the oldest lines of runs over their rate limit.

        Args:
            batches: lines that were gathered.
            before: entry that comes next; the last lines before a report of their own run pass.
        """
        with self._lock:
            if self._shares is not None:
                ending = before.run if isinstance(before, Report) else None
                for run, granted in self._shares.grant(batches.wanted).items():
                    most = max(granted, LAST_WORDS) if run is ending else granted
                    dropped = batches.trim(run, most)
                    run.limited += dropped
                    self.losses.lines += dropped
                    self._shares.spend(run, batches.wanted[run])
            events = list(batches.events())
        yield from events

    def _whole(self, held: Held) -> Iterator[Entry]:
        entry = held.entry
        if isinstance(entry, Report):
            yield from self._report(held, entry.run)
        elif isinstance(entry, threading.Event):
            yield entry
        elif self._may_push(held):
            yield from self.losses.notice(entry)
            yield held.whole(Push)

    def _report(self, held: Held, run: Run) -> Iterator[Event]:
        # The bars' last state is sent before the end of the task. Without the lock: the values of a
        # bar may be computed by the application.
        if (last := run.sample()) is not None:
            yield last
        with self._lock:
            if not self._reports or self._reports[0] is not held:
                return  # a task's thread has just replaced it by its summary
            report = self._pop(self._reports).whole(Report)
            event = run.event(report.kind, report.data, report.at)
        yield event

    def _may_push(self, held: Held) -> bool:
        if self._shares is None:
            return True
        if self._shares.pushes.left <= 0:
            if not self._pushed_too_much:
                logger.warning(
                    "taskbridge: own events are dropped: they are more than half of "
                    "TASKBRIDGE_LINE_BYTES_PER_SECOND allows"
                )
            self._pushed_too_much = True
            with self._lock:
                assert isinstance(held.entry, Push)
                self.losses.note_push(held.entry)
            return False
        self._shares.pushes.spend(EVENT_OVERHEAD + len(held.text))
        return True
