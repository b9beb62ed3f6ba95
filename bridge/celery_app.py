"""The Celery application of a service that has none of its own."""

from __future__ import annotations

from typing import Any

from bridge.settings import Settings

__all__ = ["CONNECT_TIMEOUT", "away", "broker_errors", "new_app"]

#: Seconds to wait for a broker before saying that it is away.
CONNECT_TIMEOUT = 2.0


def new_app(settings: Settings, results: str) -> Any:
    """Return a Celery application that enqueues through the settings' broker.

    Args:
        settings: which broker.
        results: URL of the result backend; ``disabled://`` for none.
    """
    from celery import Celery

    from bridge import transport

    transport.register()
    app = Celery("taskbridge", broker=settings.broker, backend=results, set_as_current=False)
    app.conf.update(broker_connection_timeout=CONNECT_TIMEOUT)
    if settings.embedded or settings.result_url is None:
        settings.home.mkdir(parents=True, exist_ok=True)
    return app


def broker_errors() -> tuple[type[Exception], ...]:
    """Return what is raised when a broker is away."""
    from kombu.exceptions import OperationalError

    return (OperationalError, OSError)


def away(settings: Settings, error: Exception) -> str:
    """Return the sentence that says so, without the URL's password."""
    from kombu.utils.url import sanitize_url

    url = sanitize_url(settings.broker)
    return f"no broker answers at {url}: start it, or set TASKBRIDGE_BROKER_URL ({error})"
