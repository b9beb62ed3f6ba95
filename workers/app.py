"""The Celery application that ``taskbridge worker`` and ``celery -A workers.app worker`` run."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from typing import NoReturn

from celery import Celery, signals

from bridge import extras, install, tracing
from bridge.bus import embedded_transport
from bridge.client.celery_app import (
    JSON_ONLY,
    connection_configuration,
    queue_configuration,
)
from bridge.errors import TaskbridgeError
from bridge.home import make_home
from bridge.printable import SafeFormatter
from bridge.settings import Settings, without_keys
from bridge.untyped import CeleryWorker

__all__ = ["app", "new_app"]

logger = logging.getLogger(__name__)

JOBS = ("workers.jobs.checksum", "workers.jobs.import_csv", "workers.jobs.thumbnails")


def new_app(settings: Settings) -> Celery:
    """Return a Celery application whose jobs are watchable and survive a lost worker.

    Args:
        settings: broker, results and modules to include.
    """
    embedded_transport.register()
    if settings.embedded or settings.result_url is None:
        make_home(settings.home)
    app = Celery("workers", amqp="bridge.bus.connection:AMQP")
    app.conf.update(_configuration(settings))
    install(app, settings, durable=True)
    return app


def _configuration(settings: Settings) -> dict[str, object]:
    return {
        "include": [*JOBS, *settings.include],
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        **JSON_ONLY,
        **connection_configuration(settings, settings.results),
        **queue_configuration(settings),
    }


def _node_name() -> str:
    # A new suffix for each start: two workers of one name would compete for one control queue.
    return f"taskbridge-{uuid.uuid4().hex[:8]}@%h"


@signals.celeryd_init.connect
def _name_node(
    sender: str | None = None, instance: CeleryWorker | None = None, **_: object
) -> None:
    if instance is not None and sender and sender.startswith("celery@"):
        instance.hostname = sender.replace("celery@", _node_name().replace("%h", ""), 1)


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def _make_logs_safe(logger: logging.Logger, **_: object) -> None:
    # Celery logs arguments, results and errors, which may contain text from clients.
    for handler in logger.handlers:
        if not isinstance(handler.formatter, SafeFormatter):
            handler.setFormatter(SafeFormatter(handler.formatter or logging.Formatter()))


def _end(told: object, status: int) -> NoReturn:
    """End the process: of an exception, Celery would print a traceback."""
    sys.stderr.write(f"taskbridge: {told}\n")
    os._exit(status)


@signals.import_modules.connect
def _check_extras(**_: object) -> None:
    # Before the jobs are imported, by a worker or by Flower, and not before a service has this
    # module imported.
    urls = extras.of_urls(_settings.broker, _settings.events, _settings.results)
    if told := extras.missing("worker", *urls):
        _end(told, 2)


@signals.worker_init.connect
def _trace(**_: object) -> None:
    # In the parent: OpenTelemetry itself starts its threads again in forked children.
    try:
        tracing.start(_settings, "taskbridge-worker")
    except TaskbridgeError as error:
        _end(error, 2)


@signals.worker_process_shutdown.connect
def _send_spans(**_: object) -> None:
    # A pool process ends without running its exit handlers.
    if _settings.tracing:
        from opentelemetry import trace

        trace.get_tracer_provider().shutdown()  # type: ignore[attr-defined]


@signals.worker_ready.connect
def _say_what_it_is(**_: object) -> None:
    if _settings.embedded:
        logger.warning("taskbridge: the embedded broker is for one machine, not for production")


try:
    # Without keys: a worker neither signs nor verifies tokens.
    _settings = Settings.from_environ(without_keys(os.environ))
except TaskbridgeError as error:
    _end(error, 2)

app = new_app(_settings)
