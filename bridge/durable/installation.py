"""Makes a Celery application durable: its defaults at once, the rest when a worker starts."""

from __future__ import annotations

from functools import partial

from celery import signals

from bridge.bus import stream
from bridge.bus.redelivery_time import broker_of
from bridge.durable import conditions, consumer_timeout, lost_tasks
from bridge.durable.annotation import DurableTasks
from bridge.durable.durability import Durability
from bridge.settings import Settings
from bridge.untyped import CeleryApp, CeleryWorker

__all__ = ["install"]

#: Retries of storing a result. Celery draws each pause at random below a bound that doubles from
#: 20 milliseconds to 10 seconds: two minutes in all at most, one on average.
RESULT_RETRIES = 20
#: Celery's names of its database result backend, and the class that replaces it for SQLite.
DATABASE, SQLITE = ("db", "database"), "bridge.durable.sqlite_results:ForkSafeBackend"
#: Celery's own class of ``app.amqp``, and those of taskbridge that the durable one replaces.
STOCK_AMQP = ("celery.app.amqp:AMQP", "bridge.bus.connection:AMQP")


def install(app: CeleryApp, durability: Durability, settings: Settings) -> None:
    """Make the tasks of an application durable.

    Celery's settings that the parts need become defaults of the application. Workers of it, and no
    other process, publish with confirms and store results with retries.

    Args:
        app: the Celery application.
        durability: the parts to install.
        settings: settings with ``stop_grace``.
    """
    app.add_defaults(defaults(durability, settings))
    _annotate(app, durability)
    for signal, handler in (
        (signals.celeryd_init, partial(_prepare, app, durability, settings)),
        (signals.celeryd_after_setup, partial(_configure_queues, app, durability)),
        (signals.worker_ready, partial(conditions.report, app, durability)),
    ):
        name = f"taskbridge.durable.{id(app)}"
        signal.disconnect(dispatch_uid=name)  # of an earlier call
        signal.connect(handler, weak=False, dispatch_uid=name)


def defaults(durability: Durability, settings: Settings) -> dict[str, object]:
    """Return Celery's settings that the parts need."""
    found: dict[str, object] = {}
    if durability.late_acknowledgement:
        found |= {"task_acks_late": True}
    if durability.lost_processes:
        found |= {"task_retry_on_worker_lost": True}
    if durability.redelivery:
        found |= {
            # A task goes on while the broker is away. DeduplicatedRequest recognises its message
            # when the broker redelivers it to this worker.
            "worker_cancel_long_running_tasks_on_connection_loss": False,
            "worker_deduplicate_successful_tasks": True,
            # Celery raises a reduced count again on the thread that acknowledges. In the pool of
            # threads, that thread and the main one read from one connection at the same time then,
            # and wait for each other until RabbitMQ closes it.
            "worker_enable_prefetch_count_reduction": False,
            "task_track_started": True,
        }
    if durability.shutdown:
        found |= {
            "worker_soft_shutdown_timeout": settings.stop_grace,
            "worker_enable_soft_shutdown_on_idle": False,
            # A restarted worker finds its predecessor's exclusive control queue locked for a while.
            "broker_channel_error_retry": True,
            "broker_connection_retry_on_startup": True,
        }
    return found


def _annotate(app: CeleryApp, durability: Durability) -> None:
    # Not as a setting: the application may set its own annotations after this call.
    app.annotations = [DurableTasks(app, durability)]
    if app.finalized:
        for task in app.tasks.values():
            task.annotate()


def _prepare(
    app: CeleryApp, durability: Durability, settings: Settings, instance: CeleryWorker, **_: object
) -> None:
    """Prepare the process of a worker: before it connects, and before it stores anything."""
    if instance.app is not app:
        return
    conditions.answer(app, durability)
    lost_tasks.of_worker(instance)
    if durability.results:
        app.conf.result_backend_always_retry = True
        app.conf.result_backend_max_retries = RESULT_RETRIES
        if str(app.conf.result_backend).startswith(tuple(f"{kind}+sqlite" for kind in DATABASE)):
            app.loader.override_backends = {
                **app.loader.override_backends,
                **dict.fromkeys(DATABASE, SQLITE),
            }
    if durability.confirms:
        _confirm(app)
    if durability.shutdown:
        from bridge.durable import stopping

        stopping.install(settings.stop_grace)


def _confirm(app: CeleryApp) -> None:
    if app.amqp_cls in STOCK_AMQP:
        from bridge.durable.task_producer import RETRY_POLICY

        app.amqp_cls = "bridge.durable.task_producer:AMQP"
        app.__dict__.pop("amqp", None)  # made of its class when it is first asked for
        app.conf.task_publish_retry_policy = RETRY_POLICY


def _configure_queues(
    app: CeleryApp, durability: Durability, instance: CeleryWorker, **_: object
) -> None:
    """Let RabbitMQ wait as long for an acknowledgement as tasks may take."""
    late = durability.late_acknowledgement and stream.is_amqp(broker_of(app))
    if instance.app is app and late:
        consumer_timeout.ask_for_time(app)
