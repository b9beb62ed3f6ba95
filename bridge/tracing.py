"""OpenTelemetry: one trace from the enqueuing service through a job's tasks to its clients.

Celery's own instrumentation carries the context (W3C ``traceparent``) from the publisher to the
task, in the message's headers. A task's lifecycle events carry it on to the servers, which record
a span of each delivery. A service without OpenTelemetry pays only for a lookup in ``sys.modules``.
"""

from __future__ import annotations

import os
import sys

from bridge.errors import SettingsError
from bridge.settings import Settings

__all__ = ["FIELD", "carrier", "start"]

#: Key of the trace context in the data of an event on the bus.
FIELD = "trace"


def carrier() -> dict[str, str] | None:
    """Return the current trace context as headers; None outside of any trace."""
    propagate = sys.modules.get("opentelemetry.propagate")
    if propagate is None:
        return None
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers or None


def start(settings: Settings, service: str) -> None:
    """Start to send the spans of this process, by OTLP over HTTP, if ``tracing`` is set.

    OpenTelemetry's own ``OTEL_*`` variables configure endpoint, sampling and so on.

    Args:
        settings: settings, of which ``tracing`` is read.
        service: name of the service, if ``OTEL_SERVICE_NAME`` is not set.

    Raises:
        SettingsError: the extra ``otel`` is not installed.
    """
    if not settings.tracing:
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.celery import CeleryInstrumentor
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            'TASKBRIDGE_TRACING needs OpenTelemetry: pip install "celery-taskbridge[otel]" '
            f"({error})"
        ) from None
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
