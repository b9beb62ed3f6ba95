"""The Celery application that ``taskbridge worker`` and ``celery -A workers.app worker`` run."""

from __future__ import annotations

import logging
import os
import sys
import uuid

from celery import Celery, Task, signals

from bridge import install, tracing
from bridge.bus import embedded_transport
from bridge.client.celery_app import JSON_ONLY, connection_configuration, queue_configuration
from bridge.errors import TaskbridgeError
from bridge.home import make_home
from bridge.printable import SafeFormatter
from bridge.settings import Settings, without_keys
from bridge.untyped import CeleryTask, CeleryWorker
from workers import stopping
from workers.delivery.retries import stored_first
from workers.delivery.task_producer import RETRY_POLICY

__all__ = ["app", "new_app"]

logger = logging.getLogger(__name__)

#: Retries of storing a result. Celery draws each pause at random below a bound that doubles from
#: 20 milliseconds to 10 seconds: two minutes in all at most, one on average.
RESULT_RETRIES = 20
#: Seconds before a task whose pool process died is retried; also before a retry of a task that
#: names no delay.
LOST_RETRY_DELAY = 5

#: Celery's names of its database result backend, and the class that replaces it for SQLite.
DATABASE, SQLITE = ("db", "database"), "workers.delivery.sqlite_results:ForkSafeBackend"

JOBS = ("workers.jobs.checksum", "workers.jobs.import_csv", "workers.jobs.thumbnails")


class Durable:
    """Task annotation of the shipped worker, for tasks of every class."""

    def annotate(self, task: CeleryTask) -> dict[str, object]:
        """Return attributes to set on ``task``; one that begins with ``@`` decorates a method."""
        told: dict[str, object] = {
            # Logged without a traceback: a cancelled job or unusable input is no bug.
            "throws": (*task.throws, TaskbridgeError),
            "@retry": stored_first,
        }
        if task.Request == Task.Request:
            told["Request"] = "workers.delivery.redelivery:DeduplicatedRequest"
        # Celery's default delay of 180 seconds is too long for a user who watches a bar. Celery's
        # own tasks (``celery.chord_unlock``) keep their own delay.
        unsaid = task.default_retry_delay == Task.default_retry_delay
        if unsaid and not task.name.startswith("celery."):
            told["default_retry_delay"] = LOST_RETRY_DELAY
        return told

    def annotate_any(self) -> None:
        """Return None: no attribute has the same value on all tasks."""


def new_app(settings: Settings) -> Celery:
    """Return a Celery application whose jobs are watchable and survive a lost worker.

    Args:
        settings: broker, results and modules to include.
    """
    embedded_transport.register()
    if settings.embedded or settings.result_url is None:
        make_home(settings.home)
    app = Celery("workers", amqp="workers.delivery.task_producer:AMQP")
    if settings.results.startswith(tuple(f"{kind}+sqlite" for kind in DATABASE)):
        app.loader.override_backends = dict.fromkeys(DATABASE, SQLITE)
    app.conf.update(_configuration(settings))
    install(app, settings)
    stopping.install(settings.stop_grace)
    return app


def _configuration(settings: Settings) -> dict[str, object]:
    return {
        "include": [*JOBS, *settings.include],
        # A job outlives its worker: acknowledged at its end, retried when its pool process dies.
        "task_acks_late": True,
        "task_retry_on_worker_lost": True,
        "task_publish_retry_policy": RETRY_POLICY,
        "task_annotations": (Durable(),),
        "task_track_started": True,
        "worker_prefetch_multiplier": 1,
        "worker_soft_shutdown_timeout": settings.stop_grace,
        "worker_enable_soft_shutdown_on_idle": False,
        # A task goes on while the broker is away. DeduplicatedRequest recognises its message when
        # the broker redelivers it to this worker.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_deduplicate_successful_tasks": True,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "broker_connection_retry_on_startup": True,
        # A restarted worker finds its predecessor's exclusive control queue locked for a while.
        "broker_channel_error_retry": True,
        # A database that is restarted must not fail the jobs that end meanwhile.
        "result_backend_always_retry": True,
        "result_backend_max_retries": RESULT_RETRIES,
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


@signals.worker_init.connect
def _trace(**_: object) -> None:
    # In the parent: OpenTelemetry itself starts its threads again in forked children.
    try:
        tracing.start(_settings, "taskbridge-worker")
    except TaskbridgeError as error:
        sys.stderr.write(f"taskbridge: {error}\n")
        os._exit(2)


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
    # An exception here would make Celery print a traceback of its import.
    sys.stderr.write(f"taskbridge: {error}\n")
    os._exit(2)

app = new_app(_settings)
