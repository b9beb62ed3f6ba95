"""``Figures``: what an archive counts, as Prometheus metrics and as reasons of its health."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from socket_server.archive.webhooks.figures import WebhookFigures

__all__ = ["Figures"]


@dataclass(slots=True, eq=False)
class Figures:
    """Counters and states of an archive; one thread changes them, others read them."""

    #: Events that were written, events that were duplicates or stale, and other messages.
    written: int = 0
    stale: int = 0
    refused: int = 0
    #: Calls to the database that failed, and gaps in what came over the bus.
    failures: int = 0
    gaps: int = 0
    #: Jobs that were removed by age and by size.
    removed: int = 0
    #: Why the database does not answer; None while it does.
    away: str | None = None
    #: Whether the broker is being listened to.
    alive: bool = False
    #: Whether all that was published has been read, as far as known.
    idle: bool = False
    #: Times at which broker or database did not answer, so that jobs were not heard.
    interruptions: int = 0
    #: Time of the newest event that was read, by its worker's clock.
    newest_at: float | None = None
    #: What happens to deliveries to webhooks; None if there are none.
    webhooks: WebhookFigures | None = None
    clock: Callable[[], float] = field(default=time.time)

    @property
    def lag(self) -> float:
        """Seconds by which the archive is behind the bus; 0 if nothing is left to read."""
        if self.idle or self.newest_at is None:
            return 0.0
        return max(0.0, self.clock() - self.newest_at)

    def interrupt(self) -> None:
        """Note that broker or database do not answer: what is published now is not read yet."""
        self.idle = False
        self.interruptions += 1

    def illness(self) -> str | None:
        """Return why the archive is unhealthy; None if it is healthy."""
        if self.away is not None:
            return "the database does not answer"
        return None if self.alive else "the broker is not being listened to"

    def describe(self) -> list[Metric]:
        """Return no metrics, so that registering them computes none."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        for name, text, value in (
            ("events_written", "Events that were written.", self.written),
            ("events_stale", "Duplicates, and what came of an older run.", self.stale),
            ("messages_refused", "Messages of the bus that are no events.", self.refused),
            ("failures", "Calls to the database that failed.", self.failures),
            ("gaps", "Times at which events were, or may have been, missed.", self.gaps),
            ("jobs_removed", "Jobs that were removed, by their age or for room.", self.removed),
        ):
            yield CounterMetricFamily(f"taskbridge_archive_{name}", text, value=value)
        for name, text, state in (
            ("lag_seconds", "Age of the newest event read; 0 if none is left.", self.lag),
            ("listener_alive", "Whether the broker is being listened to.", self.alive),
            ("database_alive", "Whether the database answered last.", self.away is None),
        ):
            yield GaugeMetricFamily(f"taskbridge_archive_{name}", text, value=state)
        if self.webhooks is not None:
            yield from self.webhooks.collect()
