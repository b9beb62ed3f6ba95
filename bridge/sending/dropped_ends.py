"""``DroppedEnds``: counts, by job, the ends of tasks that were dropped even as summaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bridge.protocol.event import TERMINAL, Event
from bridge.sending.entries import Summary

__all__ = ["DroppedEnds"]

#: Jobs that are counted at most. Dropped ends of further jobs are only in ``Losses.ends``; for
#: them the server asks the result backend.
MAX_JOBS = 10_000


class DroppedEnds:
    """Counts dropped ends by job and event type, and keeps the newest end of each job.

    The end of a job's own task is not counted: its id is the job's, so a server can look it up.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[Summary, Counter[str]]] = {}

    def add(self, end: Summary) -> None:
        """Count an end that is dropped."""
        job, own, kind = end.place
        if own or kind not in TERMINAL or (job not in self._jobs and len(self._jobs) >= MAX_JOBS):
            return
        _, counts = self._jobs.get(job, (end, Counter[str]()))
        counts[kind] += 1
        self._jobs[job] = end, counts

    def events(self) -> Iterator[Event]:
        """Yield an event for each job, its newest end with the counts of the others; clear all."""
        while self._jobs:
            _, (end, counts) = self._jobs.popitem()
            event = end.event()
            counts[event.type] -= 1
            yield event if not counts.total() else _with(event, counts)


def _with(event: Event, counts: Counter[str]) -> Event:
    event.data["unreported"] = dict(+counts)
    return event
