"""A Prometheus collector of figures that are computed only when the server is scraped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from socket_server.bus.jobs_manager import JobsManager
from socket_server.bus.stream_reach import StreamReach
from socket_server.estimates.estimates import Estimates
from socket_server.journal.journal import Journal
from socket_server.limits.connections import ConnectionLimits
from socket_server.liveness.disturbances import Disturbances
from socket_server.liveness.event_path import EventPath
from socket_server.observability.metrics import Metrics
from socket_server.watching.namespace import JobsNamespace

__all__ = ["Collector"]

#: Jobs that are counted between two pauses in which clients are served.
JOBS_AT_ONCE = 200


class Collector:
    """Reads the figures of the parts of a server at each scrape.

    Args:
        metrics: counters of the server and of the emitters.
        manager, journal, jobs, gate, estimates, reach, ways: the parts that are read.
        sleep: pauses for some seconds, so that clients are served.
    """

    def __init__(
        self,
        metrics: Metrics,
        manager: JobsManager,
        journal: Journal,
        jobs: JobsNamespace,
        gate: ConnectionLimits,
        estimates: Estimates,
        reach: StreamReach,
        ways: tuple[EventPath, Disturbances],
        sleep: Callable[[float], object],
    ) -> None:
        self._metrics, self._manager, self._journal = metrics, manager, journal
        self._jobs, self._gate, self._estimates, self._sleep = jobs, gate, estimates, sleep
        self._reach, (self._path, self._disturbances) = reach, ways

    def describe(self) -> list[Metric]:
        """Return no metrics, so that registering the collector computes none."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        for name, text, value in self._counters():
            yield CounterMetricFamily(f"taskbridge_{name}", text, value=value)
        for name, text, value in self._gauges():
            yield GaugeMetricFamily(f"taskbridge_{name}", text, value=value)
        yield self._by_label("queue_messages", QUEUES, "queue", self._estimates.levels)
        yield self._by_label("clock_skew_seconds", SKEW, "host", self._metrics.emitters.skews())
        yield self._states()
        yield self._evicted()

    def _counters(self) -> Iterator[tuple[str, str, float]]:
        flow, totals = self._metrics.flow, self._metrics.emitters.totals
        yield "events_read", "Events that came over the bus.", flow.read
        yield "events_stale", "Duplicates, and what came of an older run.", flow.stale
        yield "messages_refused", "Messages of the bus that are no events.", self._manager.refused
        yield "messages_repeated", REPEATED, self._manager.duplicates.dropped
        yield "events_delivered", "Copies of events handed to clients' queues.", flow.delivered
        yield "events_conflated", "Of those, replaced by a newer one of their bar.", flow.conflated
        yield "events_dropped", "Of those, let go with a client that was slow.", flow.dropped
        yield "emitter_events", "Events that emitters have published.", totals["published"]
        yield "emitter_failures", "Attempts to publish that failed.", totals["failures"]
        yield "emitter_dropped_lines", "Lines that emitters had to drop.", totals["dropped"]
        yield "emitter_dropped_pushes", DROPPED_PUSHES, totals["dropped_pushes"]
        yield "emitter_dropped_events", DROPPED_EVENTS, totals["dropped_events"]
        yield "emitter_dropped_ends", DROPPED_ENDS, totals["dropped_ends"]
        yield "emitter_shortened_ends", SHORTENED_ENDS, totals["shortened_ends"]

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        manager, clients = self._manager, self._jobs.clients
        yield "connections", "Connections that are open, whatever they are for.", len(self._gate)
        yield "clients", "Clients that were let in.", len(clients)
        yield "event_streams", "Of those, clients that read an event stream.", clients.streams
        yield "watches", "Jobs that clients watch, each for each client.", clients.watches
        yield "journal_jobs", "Jobs that are held.", len(self._journal)
        yield "journal_unfinished", "Of those, jobs that have not ended.", self._journal.unended
        yield "journal_bytes", "Bytes of their events that are held.", self._journal.size
        yield "listener_alive", "Whether the broker is being listened to.", manager.alive
        yield "listener_lag_seconds", LAG, self._metrics.flow.lag
        yield "emitter_held_bytes", HELD, self._metrics.emitters.held
        yield "path_disturbed", DISTURBED, self._path.disturbed
        yield "path_proven", PROVEN, self._path.probing
        yield "path_silent_seconds", "Since something came over the bus.", self._path.silent
        yield "tasks_out_of_touch", OUT_OF_TOUCH, len(self._disturbances)
        yield "ready", "Whether what was published before the start was read.", manager.ready
        yield "replay_progress", "Of that, the part that was read, from 0 to 1.", manager.replayed
        if self._reach.seconds is not None:
            yield "stream_reach_seconds", REACH, self._reach.seconds
            yield "stream_reach_ratio", REACH_PART, self._reach.part

    @staticmethod
    def _by_label(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
        family = GaugeMetricFamily(f"taskbridge_{name}", text, labels=[label])
        for key, value in values.items():
            family.add_metric([key], value)
        return family

    def _evicted(self) -> Metric:
        family = CounterMetricFamily("taskbridge_journal_evicted", EVICTED, labels=["state"])
        family.add_metric(["ended"], self._journal.evicted.ended)
        family.add_metric(["unfinished"], self._journal.evicted.unfinished)
        return family

    def _states(self) -> Metric:
        held: Counter[tuple[str, str]] = Counter()
        for number, snapshot in enumerate(self._journal.snapshots()):
            if number % JOBS_AT_ONCE == 0:
                self._sleep(0)
            held[self._metrics.label(snapshot.name), snapshot.state] += 1
        family = GaugeMetricFamily("taskbridge_jobs", STATES, labels=["task", "state"])
        for labels, count in held.items():
            family.add_metric(labels, count)
        return family


DROPPED_PUSHES = "Own events that emitters had to drop."
DROPPED_EVENTS = "Lifecycle events that emitters had to drop, but for ends of tasks."
DROPPED_ENDS = "Ends of tasks that emitters had to drop; the result backend is asked for them."
SHORTENED_ENDS = "Ends of tasks that emitters had to shorten."
HELD = "Bytes of memory of what emitters had not sent, by the last word of each."
QUEUES = "Messages that wait in a queue in which a job waits, or did."
SKEW = "By how much the clock of a host that reports is behind; ahead where negative."
LAG = "How long the newest event that says so took until it was read, corrected by clock skew."
REPEATED = "Messages of the bus that had come before, since their publisher sent them again."
DISTURBED = "Whether nothing that is published reaches this server, its own probes neither."
PROVEN = "Whether this server publishes probes; without the right to write it cannot."
OUT_OF_TOUCH = "Tasks whose worker is there, as it says or the broker knows, but is not heard."
REACH = "For how long back the stream is known to be whole, TASKBRIDGE_REPLAY at most."
REACH_PART = "The same as a part of TASKBRIDGE_REPLAY; below 1 a restarted server misses some."
EVICTED = "Jobs that were forgotten before their time: TASKBRIDGE_JOURNAL_* has no more room."
STATES = "Jobs that are held, by the name of the task and their state."
