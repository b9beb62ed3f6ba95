"""The broker of tasks: its queues, and the workers that are connected to it, as it reports them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import kombu
from amqp.exceptions import ChannelError
from kombu.pidbox import Mailbox

from bridge import held_messages
from bridge.bus import stream
from bridge.bus.connection import Connection, connect
from bridge.settings import Settings
from bridge.untyped import AMQPChannel, KombuProducer

__all__ = ["MAX_NAME", "connected", "empty_queues", "query_task", "queue_declared"]

#: Maximum seconds for each step with the broker, and for each further answer of a worker.
BROKER_TIMEOUT, ANSWER_TIMEOUT = 2.0, 1.0
#: Maximum bytes of a queue's name in AMQP.
MAX_NAME = 255
#: How RabbitMQ says that a queue does not exist; of one whose node is down it says something else.
NO_QUEUE = "NOT_FOUND - no queue"


class _Producer(kombu.Producer):
    """Publishes once; kombu's mailbox would retry without end."""

    def publish(self, *arguments: object, **options: object) -> object:
        return super().publish(*arguments, **{**options, "retry": False})


class _Mailbox(Mailbox):
    @contextlib.contextmanager
    def producer_or_acquire(
        self, producer: KombuProducer = None, channel: AMQPChannel = None
    ) -> Iterator[KombuProducer]:
        yield producer or _Producer(channel, auto_declare=False)


def connected(settings: Settings) -> Connection:
    """Return a new connection to the broker of tasks, with a bound on every wait."""
    options: dict[str, object] = {"connect_timeout": BROKER_TIMEOUT}
    if stream.is_amqp(settings.broker):
        bounds = {"read_timeout": BROKER_TIMEOUT, "write_timeout": BROKER_TIMEOUT}
        retries = {"max_retries": 1, "connect_retries_timeout": 1}
        options["transport_options"] = {**retries, **bounds}
    return connect(settings, settings.broker, **options)


def query_task(
    connection: Connection, exchange: str, tasks: Iterable[str], *, with_queues: bool = False
) -> list[object]:
    """Return what workers answer to Celery's command ``query_task``, each ``{node: {task: ...}}``.

    Args:
        connection: connection to the broker of tasks.
        exchange: Celery's ``control_exchange``.
        tasks: task ids.
        with_queues: whether workers of installed applications add a field; see ``held_messages``.
    """
    mailbox = _Mailbox(exchange, type="fanout", accept=["json"], serializer="json")
    arguments = {"ids": list(tasks), **({held_messages.FIELD: True} if with_queues else {})}
    call = mailbox(connection).multi_call
    return list(call(held_messages.COMMAND, arguments, timeout=ANSWER_TIMEOUT) or ())


def queue_declared(connection: Connection, queue: str) -> tuple[int, int]:
    """Return the numbers of ready messages and of consumers of a queue."""
    # A new channel each time: the broker closes it on a refusal.
    channel = connection.channel()
    _, ready, consumers = channel.queue_declare(queue, passive=True)
    channel.close()
    return ready, consumers


def empty_queues(connection: Connection, queues: Iterable[str]) -> dict[str, int | None]:
    """Return the number of consumers of those queues that have no ready message.

    None stands for a queue that does not exist. A queue that the broker does not report, such as
    one whose node is down, is left out.
    """
    found: dict[str, int | None] = {}
    for queue in queues:
        if not 0 < len(queue.encode(errors="replace")) <= MAX_NAME:
            continue
        try:
            ready, consumers = queue_declared(connection, queue)
        except ChannelError as error:
            if NO_QUEUE in str(error):
                found[queue] = None
        else:
            if not ready:
                found[queue] = consumers
    return found
