"""What operators can scrape."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

__all__ = ["CONNECTIONS", "LIMITS", "hit"]

#: ``limit`` is a setting's name without its prefix, in lower case, or what was malformed.
LIMITS = Counter(
    "taskbridge_limit_hits_total", "How often a client ran into a limit.", labelnames=["limit"]
)
CONNECTIONS = Gauge("taskbridge_connections", "Connections that are open, whatever they are for.")


def hit(limit: str) -> None:
    """Count that a client ran into a limit."""
    LIMITS.labels(limit).inc()
