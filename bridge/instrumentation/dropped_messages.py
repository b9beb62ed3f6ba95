"""``DroppedConsumer``: ends the tasks whose messages the broker dropped, as failed.

RabbitMQ drops a message that a consumer rejects, that waits for longer than a time to live, that a
full queue has no room for, or that a quorum queue has returned more often than its delivery limit.
Neither the publisher nor the workers are notified. With a policy that dead-letters such messages to
the queue of :func:`queue_name`, workers consume them, each message by one worker.
"""

from __future__ import annotations

import logging
import time

from celery import bootsteps, states
from celery.exceptions import TaskError
from kombu import Consumer, Queue
from kombu.common import ignore_errors

from bridge.instrumentation import installed, outcomes, poison
from bridge.protocol.event_checks import is_identifier
from bridge.protocol.json_types import JSONObject
from bridge.results.bounded_calls import bounded_calls_for
from bridge.results.parent_results import PATIENCE
from bridge.settings import Settings
from bridge.untyped import (
    AMQPChannel,
    CeleryApp,
    CeleryConsumer,
    KombuConnection,
    KombuConsumer,
    KombuMessage,
)

__all__ = ["DroppedConsumer", "MessageDropped", "error_of", "queue_name"]

logger = logging.getLogger(__name__)

#: Seconds before a dropped message is handled: a worker that rejected it reports the reason first.
GRACE = 2.0
#: Prefetch count: dropped messages that one worker holds without acknowledgement.
PREFETCH = 100
#: Explanations, by the ``reason`` in RabbitMQ's ``x-death`` header.
WHY = {
    "delivery_limit": "it was delivered too often, each time to a worker that did not acknowledge "
    "it (the delivery limit of queue {queue})",
    "expired": "it waited too long (the message-ttl of queue {queue})",
    "maxlen": "queue {queue} is full",
    "rejected": "a consumer of queue {queue} rejected it",
}
#: Reasons after which no worker runs the task: its consumer rejected it, or it exceeded the
#: delivery limit. A message that expired or found no room may have been returned to its queue by a
#: worker that lost its connection and still runs the task.
FINAL = frozenset({"rejected", "delivery_limit"})


class MessageDropped(TaskError):
    """The broker dropped the message of a task, which will not be run (again)."""


def queue_name(settings: Settings) -> str:
    """Return the name of the queue to which a policy dead-letters dropped tasks."""
    return f"{settings.channel}.dead"


class DroppedConsumer(bootsteps.StartStopStep):
    """Worker bootstep that consumes dropped messages, on a separate channel of its connection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, parent: CeleryConsumer, **options: object) -> None:
        self._consumer: KombuConsumer | None = None
        super().__init__(parent, **options)

    def include_if(self, parent: CeleryConsumer) -> bool:
        """Whether the broker speaks AMQP; others have no dead-lettering."""
        return bool(parent.app.connection_for_read().transport.driver_type == "amqp")

    def start(self, parent: CeleryConsumer) -> None:
        """Begin to consume; if the broker refuses, log a warning and let the worker go on."""
        name, connection = queue_name(installed.settings()), parent.connection
        try:
            channel = _declared(connection, name)
            self._consumer = Consumer(
                channel,
                [Queue(name, no_declare=True)],
                on_message=lambda message: _receive(parent, message),
                accept=parent.app.conf.accept_content,
            )
            self._consumer.qos(prefetch_count=PREFETCH)
            self._consumer.consume()
        except connection.channel_errors as error:
            logger.warning(
                "taskbridge: jobs whose messages the broker drops do not end: this worker may not "
                "consume the queue %s: %s", name, error,
            )  # fmt: skip

    def stop(self, parent: CeleryConsumer) -> None:
        """Stop consuming; the broker redelivers messages that are not acknowledged."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            ignore_errors(parent, consumer.channel.close)

    shutdown = stop


def _declared(connection: KombuConnection, name: str) -> AMQPChannel:
    """Return a channel, after declaring the queue if it does not exist."""
    channel = connection.channel()
    try:
        channel.queue_declare(name, passive=True)  # an operator may have chosen its type
    except connection.channel_errors as error:
        if getattr(error, "reply_code", None) != 404:
            raise
        channel = connection.channel()
        channel.queue_declare(name, durable=True, auto_delete=False)
    return channel


def _receive(parent: CeleryConsumer, message: KombuMessage) -> None:
    def settle() -> None:
        try:
            _settle(parent, message)
            message.ack()
        except parent.connection_errors:  # the broker redelivers the message
            logger.debug("taskbridge: the broker went away", exc_info=True)

    parent.timer.call_after(GRACE, settle)


def _settle(parent: CeleryConsumer, message: KombuMessage) -> None:
    """Fail the task of a dropped message, unless it has ended, expired, or is in this worker.

    If another worker may be running it, the failure has no execution, so that servers ignore it
    while the task runs.
    """
    fields = poison.read_fields(message)
    task = fields.get("id")
    if not is_identifier(task) or _is_here(task) or _expired(message, fields):
        return
    known = _state(parent.app, str(task))
    if known in states.READY_STATES and not (known == states.FAILURE and _redelivered(message)):
        return
    final = reason_of(message) in FINAL
    error = error_of(message)
    logger.error("taskbridge: task %s has failed, unless it runs: %s", task, error)
    store = final or known != states.STARTED
    poison.fail(parent, message, error, redelivered=True if final else None, store=store)


def _is_here(task: object) -> bool:
    """Whether this worker has received a task and not ended it."""
    from celery.worker import state  # imported late: services do not need it

    return any(one.id == task for one in state.reserved_requests)


def _redelivered(message: KombuMessage) -> bool:
    """Whether a dropped message is redelivered: a worker may have stored the end, unreported."""
    return bool(message.delivery_info.get("redelivered"))


def _death(message: KombuMessage) -> JSONObject:
    """Return the newest entry of a message's ``x-death`` header; empty if there is none."""
    deaths = message.headers.get("x-death")
    last = deaths[0] if isinstance(deaths, list) and deaths else {}
    return last if isinstance(last, dict) else {}


def reason_of(message: KombuMessage) -> str:
    """Return RabbitMQ's reason for dropping a message; empty if it gives none."""
    return str(_death(message).get("reason") or "")


def error_of(message: KombuMessage) -> MessageDropped:
    """Return the error of a task whose message was dropped."""
    queue, reason = str(_death(message).get("queue") or "?"), reason_of(message)
    why = WHY[reason].format(queue=queue) if reason in WHY else f"{reason or '?'} (queue {queue})"
    return MessageDropped(f"its message was dropped by the broker: {why}")


def _expired(message: KombuMessage, fields: JSONObject) -> bool:
    """Whether the task's own ``expires`` has passed: servers end such a task by that time."""
    try:
        end = outcomes.moment(fields.get("expires"))
    except (TypeError, ValueError, OverflowError):
        return False
    return reason_of(message) == "expired" and end is not None and end <= time.time()


def _state(app: CeleryApp, task: str) -> str | None:
    """Return a task's state in the result backend; None if it fails or takes over ``PATIENCE``."""
    try:
        return str(bounded_calls_for(app).ask(app.backend.get_state, task, within=PATIENCE))
    except Exception as error:  # noqa: BLE001 - whatever a backend raises
        logger.debug("taskbridge: the state of task %s is not known: %s", task, error)
        return None
