"""Deliveries as spans of the trace in which a job was enqueued; see :mod:`bridge.tracing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.protocol.event import Event
from bridge.settings import Settings

__all__ = ["Delivered", "new_tracer"]

#: Told of an event that went to clients, and of the context from which it was sent.
Delivered = Callable[[Event, Any], None]


def new_tracer(settings: Settings) -> Delivered | None:
    """Return what makes spans of deliveries; None if the settings want none.

    A span begins when the event was sent, by the clock of who sent it, and ends now.
    """
    if not settings.tracing:
        return None
    from opentelemetry import propagate, trace

    tracer = trace.get_tracer("taskbridge")

    def delivered(event: Event, carrier: Any) -> None:
        if not isinstance(carrier, dict):
            return
        attributes = {"taskbridge.job": event.job, "taskbridge.task": event.task}
        tracer.start_span(
            f"deliver {event.type}",
            context=propagate.extract(carrier),
            kind=trace.SpanKind.CONSUMER,
            attributes=attributes,
            start_time=int(event.at * 1e9),
        ).end()

    return delivered
