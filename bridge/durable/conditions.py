"""Which promises of a durable application cannot hold with its own settings."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from bridge.bus.redelivery_time import VISIBILITY, broker_of
from bridge.durable.durability import Durability
from bridge.untyped import CeleryApp, CeleryWorker, ControlState

__all__ = ["COMMAND", "answer", "report", "unmet"]

logger = logging.getLogger(__name__)

#: Name of the remote command by which ``taskbridge doctor`` asks a durable worker.
COMMAND = "taskbridge_conditions"
#: Least ``visibility_timeout``, in seconds, that is longer than jobs are meant to be.
LONG = 24 * 60 * 60
#: Result backends that other processes cannot read.
UNREADABLE = ("disabled:", "rpc:", "cache+memory:")


def unmet(app: CeleryApp, durability: Durability) -> Iterator[str]:
    """Yield a sentence for each promise that cannot hold with an application's settings.

    Args:
        app: the Celery application.
        durability: the parts that it has installed.
    """
    conf, results = app.conf, str(app.conf.result_backend or "disabled:")
    if durability.late_acknowledgement and not conf.task_acks_late:
        yield "a task whose worker dies is lost: remove task_acks_late = False"
    if durability.lost_processes and not conf.task_retry_on_worker_lost:
        yield (
            "a task whose pool process dies is not tried again: remove "
            "task_retry_on_worker_lost = False"
        )
    if durability.redelivery and conf.worker_cancel_long_running_tasks_on_connection_loss:
        yield (
            "tasks are cancelled when the worker loses the broker: remove "
            "worker_cancel_long_running_tasks_on_connection_loss = True"
        )
    if durability.redelivery and results.startswith(UNREADABLE):
        yield (
            "a task that ended while its worker died may run again, for no result backend says "
            "that it ended: set result_backend"
        )
    yield from _of_redis(app, durability)
    if durability.confirms and app.amqp_cls != "bridge.durable.task_producer:AMQP":
        yield (
            "what a task publishes is not confirmed: the application has an amqp class of its own"
        )
    own = [name for name, task in app.tasks.items() if _acknowledges_early(name, task.acks_late)]
    if durability.late_acknowledgement and conf.task_acks_late and own:
        yield f"tasks with acks_late=False are lost with their worker: {_listed(own)}"


def report(app: CeleryApp, durability: Durability, sender: CeleryWorker, **_: object) -> None:
    """Log, when a worker is ready, which promises cannot hold."""
    if sender.app is app:
        for sentence in unmet(app, durability):
            logger.warning("taskbridge: %s", sentence)


def answer(app: CeleryApp, durability: Durability) -> None:
    """Let workers of this process answer the remote command ``COMMAND`` with these sentences."""
    # Imported here: a service does not need celery.worker.
    from celery.worker.control import Panel

    @Panel.register(type="inspect", name=COMMAND, visible=False)
    def taskbridge_conditions(state: ControlState, **_: object) -> dict[str, list[str]]:
        return {"unmet": list(unmet(app, durability))}


def _of_redis(app: CeleryApp, durability: Durability) -> Iterator[str]:
    if not durability.redelivery or not broker_of(app).startswith(("redis", "sentinel")):
        return
    options = app.conf.broker_transport_options or {}
    if (visible := options.get("visibility_timeout", VISIBILITY)) < LONG:
        yield (
            f"Redis delivers a task that takes more than {visible:g} s again, and another worker "
            "then runs it at the same time: set visibility_timeout of broker_transport_options, in "
            "seconds, above the longest task"
        )


def _acknowledges_early(name: str, late: bool) -> bool:
    return not late and not name.startswith(("celery.", "taskbridge."))


def _listed(names: list[str]) -> str:
    first = ", ".join(sorted(names)[:5])
    return f"{first} and {len(names) - 5} more" if len(names) > 5 else first
