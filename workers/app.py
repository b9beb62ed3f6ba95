"""The Celery application that ``taskbridge worker`` and ``celery -A workers.app worker`` run."""

from __future__ import annotations

import logging
import os

from celery import Celery, signals

from bridge import extras, install
from bridge.bus import embedded_transport
from bridge.client.celery_app import (
    JSON_ONLY,
    connection_configuration,
    queue_configuration,
)
from bridge.errors import TaskbridgeError
from bridge.home import make_home
from bridge.settings import Settings, without_keys
from bridge.worker.failed_import import explain
from bridge.worker.process import end, prepare

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


@signals.import_modules.connect
def _check_modules(sender: Celery, **_: object) -> None:
    # Before the jobs are imported, by a worker or by Flower, and not where a service has this
    # module imported.
    stores = [_settings.checkpoint_url] if _settings.checkpoint_url else []
    urls = extras.of_urls(_settings.broker, _settings.events, _settings.results, *stores)
    if told := extras.missing("worker", *urls):
        end(told, 2)
    for module in _settings.include:
        try:
            sender.loader.import_task_module(module)
        except Exception as error:  # noqa: BLE001 - whatever the module raises
            end(explain(f"TASKBRIDGE_INCLUDE: {module}", error), 2)


@signals.worker_ready.connect
def _say_what_it_is(**_: object) -> None:
    if _settings.embedded:
        logger.warning("taskbridge: the embedded broker is for one machine, not for production")


try:
    # Without keys: a worker neither signs nor verifies tokens.
    _settings = Settings.from_environ(without_keys(os.environ))
except TaskbridgeError as error:
    end(error, 2)

prepare(_settings)
app = new_app(_settings)
