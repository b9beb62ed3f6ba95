"""How many tasks wait before a job in its queue, and whether anybody works on it."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from bridge import stream, transport
from bridge.connection import connect
from bridge.settings import Settings

__all__ = ["Gauge", "Level", "Lines"]

logger = logging.getLogger(__name__)

#: Seconds that the broker is given to answer.
PATIENCE = 2.0
#: Exchange on which Celery's remote control reaches the workers.
WORKERS = "celery.pidbox"


class Level(NamedTuple):
    """What the broker tells about a queue."""

    #: Messages in it that nobody has taken yet.
    ready: int
    #: Whether a worker takes them; None where the broker cannot tell.
    workers: bool | None


class Lines:
    """Which jobs wait in which queue, in the order in which they came. Pure."""

    def __init__(self) -> None:
        self._queues: dict[str, dict[str, int | None]] = {}
        self._queue_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._queue_of)

    def join(self, job: str, queue: str) -> None:
        """Note that a job waits in a queue."""
        if job not in self._queue_of:
            self._queue_of[job] = queue
            self._queues.setdefault(queue, {})[job] = None

    def leave(self, job: str) -> None:
        """Note that a job waits no more."""
        if (queue := self._queue_of.pop(job, None)) is not None:
            del self._queues[queue][job]
            if not self._queues[queue]:
                del self._queues[queue]

    def queues(self) -> list[str]:
        """Return the queues in which jobs wait."""
        return list(self._queues)

    def waiting(self, queue: str) -> list[str]:
        """Return the jobs that wait in a queue."""
        return list(self._queues.get(queue, ()))

    def ahead(self, queue: str, ready: int) -> dict[str, int]:
        """Return an estimate of the tasks ahead of each job that waits in a queue.

        Nobody can ask a broker for the place of a message. Of those that wait, all but the jobs
        that came later, and the job itself, may be ahead; what is enqueued past taskbridge, or with
        a priority, is not known here, so an estimate never grows again.

        Args:
            queue: its name.
            ready: how many messages it holds.
        """
        line = self._queues.get(queue, {})
        for behind, (job, before) in enumerate(reversed(line.items())):
            now = max(0, ready - 1 - behind)
            line[job] = now if before is None else min(now, before)
        return {job: known for job, known in line.items() if known is not None}


class Gauge:
    """Asks the broker about its queues, over a connection of its own.

    Args:
        settings: which broker.
    """

    def __init__(self, settings: Settings) -> None:
        transport.register()
        self._settings = settings
        self._connection: Any = None

    def read(self, queues: list[str]) -> dict[str, Level]:
        """Return what is known of queues; nothing of those that do not exist, or while it is away.

        Args:
            queues: their names.
        """
        try:
            return {name: level for name in queues if (level := self._level(name))}
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            logger.debug("taskbridge: the broker does not tell about its queues: %s", error)
            self.close()
            return {}

    def _level(self, queue: str) -> Level | None:
        if self._connection is None:
            options = {"connect_timeout": PATIENCE, "transport_options": self._options()}
            self._connection = connect(self._settings, self._settings.broker, **options)
        # A channel of its own: the broker closes it when there is no such queue.
        channel = self._connection.channel()
        try:
            _, ready, consumers = channel.queue_declare(queue, passive=True)
        except self._connection.channel_errors:
            return None
        finally:
            if getattr(channel, "is_open", True):
                channel.close()
        return Level(ready, self._workers(consumers))

    def _options(self) -> dict[str, float]:
        if not stream.is_amqp(self._settings.broker):
            return {}
        return {"read_timeout": PATIENCE, "write_timeout": PATIENCE}

    def _workers(self, consumers: int) -> bool | None:
        if stream.is_amqp(self._settings.broker):
            return consumers > 0
        if not self._settings.embedded:
            return None
        # Of one machine: whether there is a worker at all.
        channel = self._connection.default_channel
        return bool(channel.get_table(WORKERS))

    def close(self) -> None:
        """End the connection; it comes back when it is used."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()
