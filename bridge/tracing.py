"""OpenTelemetry: one trace from who enqueued a job over its tasks to its watchers.

Celery's own instrumentation carries the context (W3C ``traceparent``) from who enqueues to the
task, in the message's headers. A task's lifecycle events carry it on to the servers, which make a
span of each delivery. Only what is installed and set up is used: a service that has no
OpenTelemetry pays for a look into ``sys.modules``.
"""

from __future__ import annotations

import os
import sys

from bridge.errors import SettingsError
from bridge.settings import Settings

__all__ = ["FIELD", "carrier", "start"]

#: Key, in the data of an event on the bus, of the context from which it was sent.
FIELD = "trace"


def carrier() -> dict[str, str] | None:
    """Return the current context as headers; None outside of any trace."""
    propagate = sys.modules.get("opentelemetry.propagate")
    if propagate is None:
        return None
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers or None


def start(settings: Settings, service: str) -> None:
    """Send spans of this process, by OTLP over HTTP, if the settings say so.

    Where to, how many and so on are said by OpenTelemetry's own ``OTEL_*`` variables.

    Args:
        settings: ``tracing`` switches it on.
        service: name of the service, unless ``OTEL_SERVICE_NAME`` gives another.

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
            f"TASKBRIDGE_TRACING needs OpenTelemetry: pip install 'taskbridge[otel]' ({error})"
        ) from None
    name = os.environ.get("OTEL_SERVICE_NAME") or service
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
