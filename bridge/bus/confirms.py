"""Publishes tasks, and cancels, with publisher confirms.

Each task message is published with a publisher confirm and with AMQP's ``mandatory``: if no queue
takes it, or a full queue refuses it, the publishing call raises an error, and no job waits for
ever. Celery's own applications use neither. Services publish with this module; the shipped worker
with ``bridge.durable.task_producer``, which waits longer.
"""

from __future__ import annotations

import socket
from typing import cast

import kombu
from amqp.exceptions import ChannelError, MessageNacked
from kombu import pools

from bridge.bus import connection
from bridge.errors import BrokerUnavailable, QueueUnavailable
from bridge.protocol.json_types import JSONObject

__all__ = ["AMQP", "PATIENCE", "RETRY_POLICY", "TRANSPORT_OPTIONS", "Producer", "refusal"]

#: Seconds that a broker may take to confirm a message, or to answer. RabbitMQ confirms a message
#: once a durable queue has written it to disk; under a memory or disk alarm it confirms nothing,
#: and a frozen broker answers nothing.
PATIENCE = 10.0
#: Options of connections on which each publish waits for the broker's confirm.
TRANSPORT_OPTIONS = {
    "confirm_publish": True,
    "read_timeout": PATIENCE,
    "write_timeout": PATIENCE,
}
#: One more try, so that a connection which the broker has closed is replaced without an error. It
#: is no option of the enqueuing call: Celery passes the options of a chord on to its body, which a
#: worker publishes.
RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.2}
#: AMQP's reply code of a message that no queue takes.
NO_ROUTE = 312
#: AMQP's reply code of an exchange that does not exist.
NOT_FOUND = 404
UNCONFIRMED = (
    "the broker does not confirm messages, as under an alarm of its memory or disk: look at "
    "its log before you try again, for it may have taken this"
)


FULL = (
    "the broker refused the task, for its queue is full: start more workers, or raise the "
    "queue's max-length at the broker"
)


class Producer(kombu.Producer):
    """A producer that raises an error if no queue takes a task; other messages need no queue."""

    @property
    def patience(self) -> float | None:
        """Seconds that the broker may take to confirm a message; None for no limit."""
        return PATIENCE

    def publish(self, body: object, **options: object) -> object:
        """Publish; see ``kombu.Producer.publish``.

        Raises:
            QueueUnavailable: no queue takes the task, or its queue is full.
            BrokerUnavailable: the broker does not confirm it.
        """
        options["confirm_timeout"] = options.get("confirm_timeout") or self.patience
        # Remote control passes no retry policy, and would retry as long as the broker is away.
        options["retry_policy"] = options.get("retry_policy") or RETRY_POLICY
        if "task" not in (cast("JSONObject | None", options.get("headers")) or {}):
            return super().publish(body, **options)  # events and remote control have no queue
        options["mandatory"] = True
        try:
            return self._attempt(body, options)
        except QueueUnavailable:
            # A queue is declared once for each connection, and may have been deleted since.
            return self._attempt(body, options)

    def _attempt(self, body: object, options: dict[str, object]) -> object:
        try:
            return super().publish(body, **options)
        except ChannelError as error:
            if error.reply_code not in (NO_ROUTE, NOT_FOUND):
                raise
            self._reconnect()
            raise QueueUnavailable(_unroutable(options)) from error

    def _reconnect(self) -> None:
        """Replace the connection: on the old one, a confirm may still arrive."""
        connection = self.connection
        connection.collect()
        self.revive(connection)

    def _publish(self, *arguments: object, **options: object) -> object:
        try:
            return super()._publish(*arguments, **options)
        except MessageNacked as error:
            # kombu treats it as a connection error, and would publish again at once.
            raise QueueUnavailable(FULL) from error
        except (TimeoutError, socket.timeout) as error:  # noqa: UP041 - eventlet's is its own
            # Not raised as a connection error, after which kombu would publish once more: the
            # broker may have the task, and it would run twice.
            self._reconnect()
            raise BrokerUnavailable(UNCONFIRMED) from error


def _unroutable(options: dict[str, object]) -> str:
    where = options.get("routing_key") or "?"
    exchange = f" (exchange {options['exchange']})" if options.get("exchange") else ""
    return (
        f"no queue takes tasks for {where!r}{exchange}: start a worker on that queue, declare the "
        "queue at the broker, or correct queue= or task_routes"
    )


def refusal(error: BaseException) -> QueueUnavailable | None:
    """Return ``QueueUnavailable`` if an application's own producer met a full queue, else None."""
    return QueueUnavailable(FULL) if isinstance(error.__cause__, MessageNacked) else None


class AMQP(connection.AMQP):
    """``app.amqp`` of a service's Celery application: its connections and producers."""

    Producer = Producer

    _producer_pool: pools.ProducerPool | None = None

    @property
    def producer_pool(self) -> pools.ProducerPool:
        """Pool of this application's producers."""
        if self._producer_pool is None:
            self._producer_pool = pools.ProducerPool(
                pools.connections[self.app.connection_for_write()],
                limit=self.app.pool.limit,
                Producer=Producer,
            )
        return self._producer_pool

    publisher_pool = producer_pool
