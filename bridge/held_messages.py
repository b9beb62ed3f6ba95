"""Which task messages a worker holds: what an installed worker tells a server that looks for one.

A server asks by Celery's remote command ``query_task``. Celery's answer leaves out tasks that wait
for their rate limit, and a worker that stops (warm shutdown) does not answer, though it holds the
messages that it has prefetched until its connection ends. So an installed worker adds a field to
its answer. For each queue of tasks that it consumes it also consumes another one, always empty, and
until its connection ends: the number of that queue's consumers is the number of workers that may
hold messages, and have to answer.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable

from celery import bootsteps
from kombu import Queue

from bridge.untyped import CeleryApp, CeleryConsumer, ControlState

__all__ = ["COMMAND", "FIELD", "Presence", "answering", "install", "presence_of"]

logger = logging.getLogger(__name__)

#: Celery's remote command, and the name of the argument that asks for the field, and of the field.
COMMAND, FIELD = "query_task", "taskbridge"
#: Milliseconds after which RabbitMQ removes a queue of workers that has no consumer.
EXPIRES = 3_600_000
#: Argument of a queue that is its type, and maximum bytes of its name.
TYPE, MAX_NAME = "x-queue-type", 255


def presence_of(queue: str) -> str:
    """Return the name of the queue that is consumed by the workers of a queue of tasks."""
    return f"{queue}.taskbridge"


class Presence(bootsteps.StartStopStep):
    """Worker bootstep that consumes the queues of :func:`presence_of` until the connection ends."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: CeleryConsumer, **options: object) -> None:
        #: Names of the queues that the worker consumes.
        self.queues: list[str] = []
        super().__init__(parent, **options)

    def include_if(self, parent: CeleryConsumer) -> bool:
        """Whether the broker is RabbitMQ; others do not report consumers."""
        return bool(parent.app.connection_for_read().transport.driver_type == "amqp")

    def start(self, parent: CeleryConsumer) -> None:
        """Begin to consume; if the broker refuses, log a warning and let the worker go on."""
        self.queues = []
        for queue in parent.app.amqp.queues.consume_from.values():
            try:
                if _is_certain(queue):
                    self._consume(parent, queue)
            except parent.connection.channel_errors as error:
                logger.warning(
                    "taskbridge: jobs whose messages are gone from the queue %s do not end: this "
                    "worker may not consume the queue %s: %s",
                    queue.name, presence_of(queue.name), error,
                )  # fmt: skip

    def _consume(self, parent: CeleryConsumer, queue: Queue) -> None:
        name, kind = presence_of(queue.name), (queue.queue_arguments or {}).get(TYPE)
        # A new channel each time: the broker closes it on a refusal.
        channel = parent.connection.channel()
        # Of the same type, so that it is there as long as the queue itself is.
        arguments = {"x-expires": EXPIRES, **({TYPE: kind} if kind else {})}
        channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
        # Without `on_cancel`, a broker that removes the queue makes the worker connect again.
        gone = lambda _: self.queues.remove(name)  # noqa: E731
        channel.basic_consume(name, no_ack=True, on_cancel=gone)
        self.queues.append(name)

    def stop(self, parent: CeleryConsumer) -> None:
        """Go on consuming: the worker may hold messages until its connection ends."""


def _is_certain(queue: Queue) -> bool:
    """Whether a task's message is in the queue, or in a worker of it, for as long as it waits.

    An exchange of RabbitMQ's plugin for delayed messages keeps messages itself. A queue that ends
    with its worker takes its messages with it.
    """
    delayed = queue.exchange.type == "x-delayed-message"
    return not (delayed or queue.auto_delete or len(presence_of(queue.name).encode()) > MAX_NAME)


def install(app: CeleryApp) -> None:
    """Add the bootstep to the workers of a Celery application."""
    app.steps["consumer"].add(Presence)


def answering(received: Container[str]) -> None:
    """Let the worker of this process add the field to its answers.

    Args:
        received: ids of the tasks that the worker has received and not ended.
    """
    # Imported here: a service does not need celery.worker.
    from celery.worker.control import Panel, query_task

    def answer(state: ControlState, ids: Iterable[str] = (), **options: object) -> object:
        told = query_task(state, ids)
        return {**told, FIELD: _told(state.consumer, ids, received)} if FIELD in options else told

    Panel.data[COMMAND] = answer


def _told(
    consumer: CeleryConsumer, ids: Iterable[str], received: Container[str]
) -> dict[str, list[str]]:
    """Return the tasks of ``ids`` that the worker has, and all queues that it consumes."""
    queues = [queue.name for queue in getattr(consumer.task_consumer, "queues", ())]
    for step in consumer.steps:
        queues += step.queues if isinstance(step, Presence) else []
    return {"tasks": [id for id in ids if id in received], "queues": queues}
