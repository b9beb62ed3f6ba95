"""Spans of deliveries, in the trace in which a job was enqueued; see :mod:`bridge.tracing`."""

from __future__ import annotations

from collections.abc import Callable

from bridge.protocol.event import Event
from bridge.settings import Settings

__all__ = ["Delivered", "new_tracer"]

#: Called with an event that was sent to clients, and the trace context of its sender.
Delivered = Callable[[Event, object], None]


def new_tracer(settings: Settings) -> Delivered | None:
    """Return a function that makes a span of a delivery; None if tracing is off.

    A span begins at the event's time, by its sender's clock, and ends now.
    """
    if not settings.tracing:
        return None
    from opentelemetry import propagate, trace

    tracer = trace.get_tracer("taskbridge")

    def delivered(event: Event, carrier: object) -> None:
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
