"""How many tasks wait before a job in its queue, and whether anybody works on it."""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Iterable
from itertools import islice
from typing import Any, NamedTuple

from bridge.bus import embedded_transport, stream
from bridge.bus.connection import connect
from bridge.settings import Settings

__all__ = ["QueueDepth", "QueueDepths", "WaitingJobs"]

logger = logging.getLogger(__name__)

#: Seconds that the broker is given to answer.
PATIENCE = 2.0
#: Exchange on which Celery's remote control reaches the workers.
WORKERS = "celery.pidbox"
#: Bytes of a queue's name, as AMQP bounds it.
MAX_NAME = 255
#: Names of queues that are held, and of those how many the broker is asked about at a time: that
#: exist, and that are not known to.
MAX_QUEUES, KNOWN_AT_ONCE, OTHERS_AT_ONCE = 1_000, 100, 10
#: Seconds after which the broker is asked no more at a time.
ROUND = 1.0

#: The jobs that wait in a queue, and how many tasks were ahead of each.
Line = dict[str, int | None]


class QueueDepth(NamedTuple):
    """What the broker tells about a queue."""

    #: Messages in it that nobody has taken yet.
    ready: int
    #: Whether a worker takes them; None where the broker cannot tell.
    workers: bool | None


class WaitingJobs:
    """Which jobs wait in which queue, in the order in which they came. Pure.

    Anybody who may publish events can name any number of queues. Those that the broker has been
    found to have come first when it is asked, so that names of others hold up none of them.
    """

    def __init__(self) -> None:
        # Each in the order in which their turn comes: queues that exist, and other names.
        self._known: dict[str, Line] = {}
        self._other: dict[str, Line] = {}
        self._queue_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._queue_of)

    def join(self, job: str, queue: str) -> None:
        """Note that a job waits in a queue; not if no queue has such a name, or there are many."""
        if job in self._queue_of or not 0 < len(queue.encode(errors="replace")) <= MAX_NAME:
            return
        line = self._line(queue)
        if line is None:
            if len(self._known) + len(self._other) >= MAX_QUEUES and not self._forget_one():
                return
            line = {}
            self._other = {queue: line, **self._other}  # what is new is looked at first
        self._queue_of[job] = queue
        line[job] = None

    def _line(self, queue: str) -> Line | None:
        return self._known.get(queue, self._other.get(queue))

    def _forget_one(self) -> bool:
        """Forget a name that no queue is known to have, new ones last; whether there was one."""
        if not self._other:
            return False
        for job in self._other.popitem()[1]:
            del self._queue_of[job]
        return True

    def leave(self, job: str) -> None:
        """Note that a job waits no more."""
        if (queue := self._queue_of.pop(job, None)) is not None:
            of = self._known if queue in self._known else self._other
            del of[queue][job]
            if not of[queue]:
                del of[queue]

    def queues(self) -> list[str]:
        """Return the queues in which jobs wait, and whose turn it is to be looked at."""
        return [*islice(self._known, KNOWN_AT_ONCE), *islice(self._other, OTHERS_AT_ONCE)]

    def looked(self, queues: Iterable[str], found: Container[str]) -> None:
        """Note that queues were looked at, whose turn comes last from now on.

        Args:
            queues: their names.
            found: those that exist.
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

        Nobody can ask a broker for the place of a message. Of those that wait, all but the jobs
        that came later, and the job itself, may be ahead; what is enqueued past taskbridge, or with
        a priority, is not known here, so an estimate never grows again.

        Args:
            queue: its name.
            ready: how many messages it holds.
        """
        line = self._line(queue) or {}
        for behind, (job, before) in enumerate(reversed(line.items())):
            now = max(0, ready - 1 - behind)
            line[job] = now if before is None else min(now, before)
        return {job: known for job, known in line.items() if known is not None}


class QueueDepths:
    """Asks the broker about its queues, over a connection of its own.

    Args:
        settings: which broker.
    """

    def __init__(self, settings: Settings) -> None:
        embedded_transport.register()
        self._settings = settings
        self._connection: Any = None

    def read(self, queues: list[str]) -> dict[str, QueueDepth | None]:
        """Return what is known of queues, None for those that do not exist.

        Those that it did not come to within ``ROUND`` seconds, or while the broker is away, are
        left out.

        Args:
            queues: their names, those that matter most first.
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
        return QueueDepth(ready, self._workers(consumers))

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
