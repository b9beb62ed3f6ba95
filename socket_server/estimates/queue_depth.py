"""Numbers of tasks ahead of a job in its queue, and whether a worker reads the queue."""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Iterable
from itertools import islice
from typing import NamedTuple

from bridge.bus import embedded_transport, stream
from bridge.bus.connection import Connection, connect
from bridge.settings import Settings

__all__ = ["QueueDepth", "QueueDepths", "WaitingJobs"]

logger = logging.getLogger(__name__)

#: Maximum seconds for each step of an exchange with the broker.
PATIENCE = 2.0
#: Exchange on which Celery's remote control reaches the workers.
WORKERS = "celery.pidbox"
#: Maximum bytes of a queue's name in AMQP.
MAX_NAME = 255
#: Maximum names of queues that are held, and of those that the broker is asked about in one round:
#: queues known to exist, and other names.
MAX_QUEUES, KNOWN_AT_ONCE, OTHERS_AT_ONCE = 1_000, 100, 10
#: Seconds after which a round ends early.
ROUND = 1.0

#: Ids of the jobs that wait in a queue, with the latest estimate of the tasks ahead of each.
Line = dict[str, int | None]


class QueueDepth(NamedTuple):
    """State of a queue at the broker."""

    #: Number of messages that were not delivered to a consumer yet.
    ready: int
    #: Whether a worker reads the queue; None if the broker does not report it.
    workers: bool | None


class WaitingJobs:
    """The waiting jobs of each queue, in the order of their events. Pure.

    Publishers of events can name any number of queues. Queues that the broker was found to have are
    read first, so that invented names do not delay them.
    """

    def __init__(self) -> None:
        # Queues known to exist, and other names, each in the order in which they are read next.
        self._known: dict[str, Line] = {}
        self._other: dict[str, Line] = {}
        self._queue_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._queue_of)

    def join(self, job: str, queue: str) -> None:
        """Note that a job waits in a queue.

        Ignored if AMQP does not allow the name, or if ``MAX_QUEUES`` queues are known to exist.
        """
        if job in self._queue_of or not 0 < len(queue.encode(errors="replace")) <= MAX_NAME:
            return
        line = self._line(queue)
        if line is None:
            if len(self._known) + len(self._other) >= MAX_QUEUES and not self._forget_one():
                return
            line = {}
            self._other = {queue: line, **self._other}  # new names are read first
        self._queue_of[job] = queue
        line[job] = None

    def _line(self, queue: str) -> Line | None:
        return self._known.get(queue, self._other.get(queue))

    def _forget_one(self) -> bool:
        """Drop a name of no known queue, a new one last; return whether there was one."""
        if not self._other:
            return False
        for job in self._other.popitem()[1]:
            del self._queue_of[job]
        return True

    def leave(self, job: str) -> None:
        """Note that a job does not wait any more."""
        if (queue := self._queue_of.pop(job, None)) is not None:
            of = self._known if queue in self._known else self._other
            del of[queue][job]
            if not of[queue]:
                del of[queue]

    def queues(self) -> list[str]:
        """Return the queues to read in the next round."""
        return [*islice(self._known, KNOWN_AT_ONCE), *islice(self._other, OTHERS_AT_ONCE)]

    def looked(self, queues: Iterable[str], found: Container[str]) -> None:
        """Note that queues were read; they move to the end of the order.

        Args:
            queues: names of the queues.
            found: names of the queues that exist.
        """
        for queue in queues:
            line = self._known.pop(queue, None) or self._other.pop(queue, None)
            if line:
                (self._known if queue in found else self._other)[queue] = line

    def has(self, queue: str) -> bool:
        """Whether jobs wait in a queue."""
        return self._line(queue) is not None

    def waiting(self, queue: str) -> list[str]:
        """Return the jobs that wait in a queue."""
        return list(self._line(queue) or ())

    def ahead(self, queue: str, ready: int) -> dict[str, int]:
        """Return an estimate of the tasks ahead of each job that waits in a queue.

        Brokers do not report the place of a message. All waiting messages may be ahead of a job but
        its own and those of jobs that came later. Tasks enqueued without taskbridge, or with a
        priority, are not known here, so an estimate never grows. It is at least the number of jobs
        that came earlier and still wait: a worker may hold their messages.

        Args:
            queue: name of the queue.
            ready: number of messages in the queue.
        """
        line = self._line(queue) or {}
        unknown = ready - len(line)
        for earlier, (job, before) in enumerate(line.items()):
            now = earlier + max(0, unknown)
            line[job] = now if before is None else min(now, before)
        return {job: known for job, known in line.items() if known is not None}


class QueueDepths:
    """Reads the lengths of queues from the broker, over a separate connection.

    Args:
        settings: URL of the broker of tasks.
    """

    def __init__(self, settings: Settings) -> None:
        embedded_transport.register()
        self._settings = settings
        self._connection: Connection | None = None

    @property
    def empty(self) -> QueueDepth | None:
        """State of a queue that does not exist where an empty queue does not; else None."""
        plain = stream.is_amqp(self._settings.broker) or self._settings.embedded
        return None if plain else QueueDepth(0, None)

    def read(self, queues: list[str]) -> dict[str, QueueDepth | None]:
        """Return the state of queues, with None for queues that do not exist.

        Queues that were not reached within ``ROUND`` seconds, or since the broker failed, are left
        out.

        Args:
            queues: names of the queues, in the order in which they are read.
        """
        levels: dict[str, QueueDepth | None] = {}
        deadline = time.monotonic() + ROUND
        try:
            for name in queues:
                levels[name] = self._level(name)
                if time.monotonic() > deadline:
                    break
        except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
            logger.debug("taskbridge: the broker does not tell about its queues: %s", error)
            self.close()
        return levels

    def _level(self, queue: str) -> QueueDepth | None:
        connection = self._connection
        if connection is None:
            options = {"connect_timeout": PATIENCE, "transport_options": self._options()}
            connection = connect(self._settings, self._settings.broker, **options)
            self._connection = connection
        # A new channel each time: the broker closes it if there is no such queue.
        channel = connection.channel()
        try:
            _, ready, consumers = channel.queue_declare(queue, passive=True)
        except connection.channel_errors:
            return None
        finally:
            if getattr(channel, "is_open", True):
                channel.close()
        return QueueDepth(ready, self._workers(connection, consumers))

    def _options(self) -> dict[str, float]:
        if not stream.is_amqp(self._settings.broker):
            return {}
        return {"read_timeout": PATIENCE, "write_timeout": PATIENCE}

    def _workers(self, connection: Connection, consumers: int) -> bool | None:
        if stream.is_amqp(self._settings.broker):
            return consumers > 0
        if not self._settings.embedded:
            return None
        # The embedded broker does not count consumers: whether there is any worker.
        channel = connection.default_channel
        return bool(channel.get_table(WORKERS))

    def close(self) -> None:
        """Close the connection; the next read opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release()
