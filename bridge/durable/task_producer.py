"""Publishing tasks from a worker: retries, and the later tasks of a canvas.

A worker acknowledges a task once it has published the tasks that follow it. A broker that is
killed loses messages that it has not confirmed, so a worker waits for the confirm before it
acknowledges, however long that takes: until then, the broker redelivers the task if the worker
dies.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property

from kombu import pools
from kombu.utils.collections import eqhash

from bridge.bus import confirms, connection, stream
from bridge.durable import consumer_timeout
from bridge.untyped import CeleryApp, KombuConnection, KombuProducer

__all__ = ["AMQP", "RETRY_POLICY", "Producer"]

#: Seconds for which a worker tries to publish a task while the broker is away. Celery fails a task
#: if its retry cannot be published. RabbitMQ waits as long for the publishing task's own
#: acknowledgement.
PATIENCE = consumer_timeout.TIMEOUT // 1000
#: Seconds between two attempts: the first pause, its increment, and the longest pause.
INTERVALS = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
#: Celery reads None, which means no limit elsewhere, as three attempts.
RETRY_POLICY = {"max_retries": PATIENCE, **INTERVALS}
#: Options of connections on which each publish waits for the broker's confirm.
TRANSPORT_OPTIONS = {"confirm_publish": True, "connect_retries_timeout": PATIENCE, **INTERVALS}


class Producer(confirms.Producer):
    """A producer that waits for a confirm as long as its connection is open.

    A broker under a memory or disk alarm confirms once the alarm is over, and a suspended broker
    once it goes on. Publishing again before that would run the task twice. If the broker is gone,
    the connection ends: it is reset, or TCP's keepalive probes fail (py-amqp's settings: about a
    minute).
    """

    @property
    def patience(self) -> float | None:
        """None: a confirm is awaited without a time limit."""
        return None


class TaskConnections(connection.Pool):
    """A pool of connections that a forked child does not close: they are its parent's."""

    close_after_fork = False


class AMQP(connection.AMQP):
    """The shipped worker's ``app.amqp``.

    Only tasks are published with confirms. The worker's Celery events and its replies to remote
    control use Celery's own producers: a broker that blocks publishers must not hold up the
    worker's main process.
    """

    def __init__(self, app: CeleryApp) -> None:
        super().__init__(app)
        # By process id. A child keeps an inherited pool without using it: dropping or closing it,
        # as kombu's pools do, would end the connection on which its parent waits for a confirm.
        self._task_producers: dict[int, pools.ProducerPool] = {}

    @cached_property
    def send_task_message(self) -> Callable[..., object]:
        """A function that publishes a task; see Celery's."""
        send: Callable[..., object] = super().send_task_message
        if not stream.is_amqp(self.app.conf.broker_url):
            return send

        def send_confirmed(
            producer: KombuProducer, *arguments: object, **options: object
        ) -> object:
            if not _same_broker(producer.connection, self.app.connection_for_write()):
                return send(producer, *arguments, **options)  # the caller chose another broker
            with self._producers().acquire(block=True) as confirmed:
                return send(confirmed, *arguments, **options)

        return send_confirmed

    def _producers(self) -> pools.ProducerPool:
        if (known := self._task_producers.get(os.getpid())) is not None:
            return known
        limit = self.app.pool.limit
        connections = TaskConnections(
            self.app.connection_for_write(transport_options=TRANSPORT_OPTIONS), limit
        )
        options = {"Producer": Producer, "close_after_fork": False}
        producers = pools.ProducerPool(connections, limit, **options)
        return self._task_producers.setdefault(os.getpid(), producers)


def _same_broker(one: KombuConnection, other: KombuConnection) -> bool:
    # A connection with several URLs may be at any one of them.
    return bool(one.alt == other.alt and (one.alt or eqhash(one) == eqhash(other)))
