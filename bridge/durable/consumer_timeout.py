"""How long RabbitMQ waits for a worker's acknowledgement, as the worker's consumers ask for it.

RabbitMQ's default of 30 minutes would close the channel under a longer job, and run it twice; a day
is longer than jobs are meant to be. RabbitMQ 4.3 waits without a limit for consumers of classic
queues, and from 4.3.2 on refuses a consumer that asks for one.
"""

from __future__ import annotations

import re

from kombu import Queue

from bridge.untyped import CeleryApp, KombuConnection, KombuConsumer

__all__ = ["TIMEOUT", "ask_for_time"]

#: Milliseconds for which RabbitMQ waits for the acknowledgement of a task: a day.
TIMEOUT = 24 * 60 * 60 * 1000
ARGUMENT = "x-consumer-timeout"


def ask_for_time(app: CeleryApp) -> None:
    """Let each task consumer of an application's worker ask RabbitMQ for ``TIMEOUT``.

    The broker's version is read at each connect: a worker outlives the upgrade of its broker.
    """
    new_consumer = app.amqp.TaskConsumer

    def new_task_consumer(channel: KombuConnection, *args: object, **options: object) -> object:
        for queue in app.amqp.queues.consume_from.values():
            _set_argument(queue, channel)
        consumer: KombuConsumer = new_consumer(channel, *args, **options)
        return consumer

    app.amqp.TaskConsumer = new_task_consumer


def _set_argument(queue: Queue, connection: KombuConnection) -> None:
    own = queue.consumer_arguments or {}
    if _is_refused(queue, connection):
        own = {name: value for name, value in own.items() if name != ARGUMENT}
        queue.consumer_arguments = own
    else:
        queue.consumer_arguments = {ARGUMENT: TIMEOUT, **own}


def _is_refused(queue: Queue, connection: KombuConnection) -> bool:
    """Whether RabbitMQ may refuse the argument: a classic queue of RabbitMQ 4.3 or later."""
    told = connection.connection.server_properties
    version = re.match(r"(\d+)\.(\d+)", str(told.get("version")))
    if told.get("product") != "RabbitMQ" or not version:
        return False
    quorum = (queue.queue_arguments or {}).get("x-queue-type") == "quorum"
    return not quorum and tuple(map(int, version.groups())) >= (4, 3)
