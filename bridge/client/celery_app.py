"""The Celery application of a service that has none of its own."""

from __future__ import annotations

from bridge import extras
from bridge.bus import stream
from bridge.bus.login import CONNECT_TIMEOUT
from bridge.home import make_home
from bridge.settings import Settings
from bridge.untyped import CeleryApp

__all__ = [
    "JSON_ONLY",
    "away",
    "broker_errors",
    "connection_configuration",
    "new_app",
    "queue_configuration",
]

#: Celery settings with which no message and no result is unpickled.
JSON_ONLY = {
    "task_serializer": "json",
    "result_serializer": "json",
    "event_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
}


def new_app(settings: Settings, results: str) -> CeleryApp:
    """Return a Celery application that enqueues through the settings' broker.

    Args:
        settings: broker, files for TLS, and type of the queue.
        results: URL of the result backend; ``disabled://`` for none.

    Raises:
        SettingsError: the extra that the broker needs is not installed.
    """
    extras.demand(*extras.of_urls(settings.broker))
    from celery import Celery

    from bridge.bus import embedded_transport
    from bridge.bus.confirms import RETRY_POLICY, TRANSPORT_OPTIONS

    embedded_transport.register()
    app = Celery("taskbridge", amqp="bridge.bus.confirms:AMQP", set_as_current=False)
    app.conf.update(
        broker_connection_timeout=CONNECT_TIMEOUT,
        task_publish_retry_policy=RETRY_POLICY,
        broker_transport_options=dict(TRANSPORT_OPTIONS) if stream.is_amqp(settings.broker) else {},
        # Workers create the tables: a service that reads results may lack the right to.
        database_create_tables_at_setup=False,
        **JSON_ONLY,
        **connection_configuration(settings, results),
        **queue_configuration(settings),
    )
    if settings.embedded or (results == settings.results and settings.result_url is None):
        make_home(settings.home)
    return app


def connection_configuration(settings: Settings, results: str) -> dict[str, object]:
    """Return Celery's settings of the broker and the result backend, verified TLS included.

    The application's ``amqp`` must be ``bridge.bus.connection:AMQP`` or a subclass of it.

    Args:
        settings: broker, and files for TLS.
        results: URL of the result backend.
    """
    from bridge.bus import tls

    broker, backend = tls.target(settings, settings.broker), tls.target(settings, results)
    return {
        "broker_url": broker.url,
        "broker_use_ssl": broker.ssl or False,
        "result_backend": backend.url,
        **({"redis_backend_use_ssl": backend.ssl} if backend.ssl else {}),
    }


def queue_configuration(settings: Settings) -> dict[str, object]:
    """Return Celery's settings of its default queue, the same for services and workers."""
    if not stream.is_amqp(settings.broker):
        return {}
    from kombu import Exchange, Queue

    quorum = settings.queue_type == "quorum"
    queue = Queue(
        "celery",
        # Celery delays tasks of quorum queues through exchanges that it binds to this one, which
        # it does not do with one of type direct.
        Exchange("celery", type="topic" if quorum else "direct"),
        routing_key="celery",
        queue_arguments={"x-queue-type": "quorum"} if quorum else None,
    )
    kind = {"task_default_queue_type": "quorum", "task_default_exchange_type": "topic"}
    return {"task_queues": [queue], **(kind if quorum else {})}


def broker_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that are raised when the broker is unavailable, or refuses."""
    from amqp.exceptions import AMQPError
    from kombu.exceptions import OperationalError

    return (OperationalError, OSError, AMQPError)


def away(settings: Settings, error: Exception) -> str:
    """Return an error message for a broker that is unavailable or refuses, without its password."""
    from bridge.bus import refusals, tls
    from bridge.settings import broker_url

    url = broker_url.shown(settings.broker)
    if refused := refusals.refusal(error, "TASKBRIDGE_BROKER_URL"):
        return f"{refused} ({url})"
    if tls.refused(error):
        return f"no trusted connection to {url}: {tls.explain(error)}"
    return f"no broker answers at {url}: start it, or set TASKBRIDGE_BROKER_URL ({error})"
