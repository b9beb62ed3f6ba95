"""``Losses``: counts what an outbox has dropped, by kind; ``DroppedEnds``: ends, by job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bridge.protocol.event import NAMESPACE, TERMINAL, Event
from bridge.sending.entries import Push, Summary

__all__ = ["PUSHES_DROPPED", "DroppedEnds", "Losses"]

#: Socket.IO event to the clients of a job or an owner, with the number of dropped own events.
PUSHES_DROPPED = "pushes_dropped"
#: Rooms whose dropped own events are counted each, at most; of further rooms only the sum is known.
MAX_ROOMS = 1_000
#: Jobs that are counted at most. Dropped ends of further jobs are only in ``Losses.ends``; for
#: them the server asks the result backend.
MAX_JOBS = 10_000

#: A room of ``/jobs``, and the shard of its servers; None for all shards.
Room = tuple[str, int | None]


class Losses:
    """Counts of what a process has dropped or shortened since its start."""

    def __init__(self) -> None:
        #: Log lines and chunks of output.
        self.lines = 0
        #: An application's own events.
        self.pushes = 0
        #: Lifecycle events that are not the end of a run.
        self.events = 0
        #: Ends of runs; a server looks these up in the result backend.
        self.ends = 0
        #: Ends that were replaced by summaries, with error or result shortened and without the last
        #: state of the bars.
        self.shortened = 0
        self._rooms: dict[Room, int] = {}

    def counts(self) -> dict[str, int]:
        """Return the counts by their names in an event's ``emitter`` field."""
        return {
            "dropped": self.lines,
            "dropped_pushes": self.pushes,
            "dropped_events": self.events,
            "dropped_ends": self.ends,
            "shortened_ends": self.shortened,
        }

    def note_push(self, push: Push) -> None:
        """Count a dropped own event; if its room is one of ``/jobs``, it gets a notice later."""
        self.pushes += 1
        key = push.room or "", push.shard
        if push.namespace == NAMESPACE and (key in self._rooms or len(self._rooms) < MAX_ROOMS):
            self._rooms[key] = self._rooms.get(key, 0) + 1

    def notice(self, push: Push) -> Iterator[Push]:
        """Yield the notice to send before an own event, if events to its room were dropped."""
        if push.namespace == NAMESPACE:
            yield from self._notice((push.room or "", push.shard))

    def notices(self) -> Iterator[Push]:
        """Yield the notices for all rooms with dropped events."""
        for key in list(self._rooms):
            yield from self._notice(key)

    def _notice(self, key: Room) -> Iterator[Push]:
        if count := self._rooms.pop(key, 0):
            yield Push(PUSHES_DROPPED, {"count": count}, NAMESPACE, *key)


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
