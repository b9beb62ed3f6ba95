"""``WebhookFigures``: what happens to deliveries, by webhook, as metrics and as states."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from socket_server.archive.webhooks.deliveries import Waiting

__all__ = ["OTHERS", "EndpointFigures", "WebhookFigures"]

#: Label of all webhooks that the settings do not name; no name is like it.
OTHERS = "(others)"


@dataclass(slots=True, eq=False)
class EndpointFigures:
    """Counters and states of one webhook; one thread changes them, others read them."""

    #: Deliveries that were received, attempts that failed, and deliveries that were given up.
    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    #: Deliveries that are not over, and when the oldest was queued, in seconds since the epoch.
    waiting: int = 0
    since: float | None = None
    #: Why the last attempt failed; None if it succeeded.
    failure: str | None = None
    #: Whether the endpoint has answered that it is gone.
    gone: bool = False


class WebhookFigures:
    """The figures of all webhooks.

    Args:
        names: names of the webhooks.
        clock: clock in seconds since the epoch.
    """

    def __init__(self, names: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._of = {name: EndpointFigures() for name in (*names, OTHERS)}

    def of(self, name: str) -> EndpointFigures:
        """Return the figures of a webhook, or of all that the settings do not name."""
        return self._of.get(name, self._of[OTHERS])

    def note_waiting(self, found: Mapping[str, Waiting]) -> None:
        """Take over how many deliveries are not over."""
        for one in self._of.values():
            those = [w for key, w in found.items() if self.of(key) is one]
            one.waiting = sum(w.number for w in those)
            one.since = min((w.since for w in those), default=None)

    def told(self) -> dict[str, dict[str, Any]]:
        """Return what the health check says, by webhook."""
        return {
            name: {
                "waiting": one.waiting,
                "oldest": self._age(one),
                "failure": one.failure,
                "gone": one.gone,
            }
            for name, one in self._of.items()
            if name != OTHERS or one.waiting
        }

    def _age(self, one: EndpointFigures) -> float:
        return 0.0 if one.since is None else max(0.0, self._clock() - one.since)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        for name, text, value in (
            ("delivered", "Deliveries that were received.", lambda one: one.delivered),
            ("attempts_failed", "Attempts to deliver that failed.", lambda one: one.failed),
            ("given_up", "Deliveries that were given up.", lambda one: one.given_up),
        ):
            yield self._metric(CounterMetricFamily, name, text, value)
        for name, text, state in (
            ("waiting", "Deliveries that are not over.", lambda one: one.waiting),
            ("oldest_seconds", "Age of the oldest of them; 0 without one.", self._age),
            ("failing", "Whether the last attempt failed.", lambda one: one.failure is not None),
            ("gone", "Whether the endpoint said that it is gone.", lambda one: one.gone),
        ):
            yield self._metric(GaugeMetricFamily, name, text, state)

    def _metric(
        self, family: Any, name: str, text: str, value: Callable[[EndpointFigures], float]
    ) -> Metric:
        metric: Metric = family(f"taskbridge_archive_webhook_{name}", text, labels=["webhook"])
        for webhook, one in self._of.items():
            metric.add_metric([webhook], value(one))  # type: ignore[attr-defined]
        return metric
