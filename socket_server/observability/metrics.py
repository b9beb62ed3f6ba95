"""Prometheus metrics of a server."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)

from bridge.protocol.event import Event
from bridge.protocol.snapshot import Snapshot
from socket_server.observability.counters import Counters
from socket_server.observability.emitter_stats import EmitterStats

__all__ = ["LIMITS", "Metrics", "hit"]

#: ``limit`` is a setting's name without its prefix, in lower case; or ``malformed``, ``attempts``,
#: ``messages_per_second``.
LIMITS = Counter(
    "taskbridge_limit_hits_total", "How often a client ran into a limit.", labelnames=["limit"]
)
#: Task names that get a label of their own, and the one label of all further names.
MAX_NAMES, OTHERS = 200, "(others)"
#: Bounds of histograms, in seconds.
DELIVERY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
WAIT = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 3600)
RUN = (0.1, 1, 5, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)


def hit(limit: str) -> None:
    """Count that a client ran into a limit."""
    LIMITS.labels(limit).inc()


class Metrics:
    """The metrics of one server; counts that every event changes are plain numbers in ``flow``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.flow, self.emitters = Counters(), EmitterStats()
        #: Reports by emitters that they dropped ends of tasks.
        self.ends_lost = 0
        self._names: set[str] = set()
        for kind in (ProcessCollector, PlatformCollector, GCCollector):
            kind(registry=self.registry)
        self.registry.register(LIMITS)
        self._delivery = Histogram(
            "taskbridge_delivery_seconds",
            "From an event to its watchers' queues, corrected by the clock skew of its host; of a "
            "sample, one event of each emitter every five seconds.",
            buckets=DELIVERY,
            registry=self.registry,
        )
        self._ended = Counter(
            "taskbridge_jobs_ended_total", ENDED, ["task", "state"], registry=self.registry
        )
        self._wait = self._seconds("taskbridge_job_wait_seconds", WAITED, WAIT)
        self._run = self._seconds("taskbridge_job_run_seconds", RAN, RUN)

    def _seconds(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, ["task"], registry=self.registry, buckets=buckets)

    def took(self, event: Event, *, live: bool, news: bool, watched: bool) -> None:
        """Count an event of the bus, and take in what its emitter reports about itself.

        Args:
            event: as it was published.
            live: False while the server replays the stream.
            news: False for a duplicate, and for an event of a superseded run.
            watched: whether it was sent to a client.
        """
        self.flow.read += 1
        self.flow.stale += not news
        if not (told := event.notes.get("emitter")):
            return
        if not live:
            self.ends_lost += bool(told.get("dropped_ends"))
            return
        before = self.emitters.totals["dropped_ends"]
        self.flow.lag = self.emitters.note(told, time.time() - event.at)
        self.ends_lost += self.emitters.totals["dropped_ends"] > before
        if watched:
            self._delivery.observe(self.flow.lag)

    def ended(self, snapshot: Snapshot) -> None:
        """Count a job that has just ended."""
        name = self.label(snapshot.name)
        self._ended.labels(name, snapshot.state).inc()
        queued, started, ended = snapshot.queued_at, snapshot.started_at, snapshot.ended_at
        if queued is not None and started is not None:
            self._wait.labels(name).observe(max(0.0, started - queued))
        if started is not None and ended is not None:
            self._run.labels(name).observe(max(0.0, ended - started))

    def label(self, name: str) -> str:
        """Return a task name as a label; labels are limited, as publishers may invent names."""
        if name not in self._names:
            if len(self._names) >= MAX_NAMES:
                return OTHERS
            self._names.add(name)
        return name


ENDED = "Jobs that ended, by the name of the task and how they ended."
WAITED = "How long jobs waited until they began, by the name of the task."
RAN = "How long jobs took from their beginning to their end, by the name of the task."
