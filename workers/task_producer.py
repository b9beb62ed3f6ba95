"""Publishing tasks from a worker: retries, and the later tasks of a canvas.

A worker acknowledges a task once it has published what follows it. A broker that is killed loses
what it has not confirmed, so a worker waits for the confirm before it acknowledges, however long
that takes: until the acknowledgement, the broker delivers the task again if the worker dies.
"""

from __future__ import annotations

from typing import Any

from bridge import confirming, stream
from bridge.celery_app import CONSUMER_TIMEOUT

__all__ = ["AMQP", "RETRY_POLICY", "Producer"]

#: Seconds for which a worker tries to publish a task while the broker is away, for to Celery a task
#: whose retry cannot be published has failed: as long as RabbitMQ waits for the acknowledgement of
#: the task that publishes it.
PATIENCE = CONSUMER_TIMEOUT // 1000
#: Seconds between two attempts: first, by how much it grows, and most.
INTERVALS = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 1.0}
#: Celery takes None, which means no limit elsewhere, for three attempts.
RETRY_POLICY = {"max_retries": PATIENCE, **INTERVALS}
#: Of connections on which each publish waits for the broker's confirm.
TRANSPORT_OPTIONS = {"confirm_publish": True, "connect_retries_timeout": PATIENCE, **INTERVALS}


class Producer(confirming.Producer):
    """A producer that waits for a confirm as long as its connection stands.

    A broker under an alarm of its memory or disk confirms once the alarm is over, and one that is
    suspended once it goes on. To publish again before that would run the task twice. A broker that
    is gone ends the connection: it resets it, or misses TCP's keepalive probes (py-amqp's
    settings: about a minute).
    """

    @property
    def patience(self) -> float | None:
        """None: there is no limit."""
        return None


class AMQP(confirming.AMQP):
    """What the shipped worker connects and publishes with.

    Only connections of producers of tasks have confirms. A worker's parent also publishes its
    events and answers to remote control, and must not wait for a broker that blocks publishers.
    """

    Producer = Producer

    def producer_connection(self) -> Any:
        """Return a connection on which each publish waits for the broker's confirm."""
        if not stream.is_amqp(self.app.conf.broker_url):
            return super().producer_connection()
        return self.app.connection_for_write(transport_options=TRANSPORT_OPTIONS)
