"""``KombuJobsManager``: the manager for RabbitMQ and other brokers that kombu fans out on."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator

import socketio

from bridge.bus import refusals, stream
from bridge.bus.connection import Connection, connect
from bridge.bus.write_only_manager import CONNECTION_OPTIONS
from bridge.protocol.json_types import JSONObject
from bridge.settings import Settings
from socket_server.bus.decoding import Decoded, decoded
from socket_server.bus.jobs_manager import AWAY, JobsManager, identified
from socket_server.bus.sources import BusMessage, Queue, Stream

__all__ = ["KombuJobsManager"]

logger = logging.getLogger(__name__)

#: Seconds between AMQP heartbeats; a frozen broker or link is noticed after two or three of them.
HEARTBEAT = 5


#: Seconds for which messages are handled before other greenlets run: normally, and while the stream
#: is replayed at the start.
TURN, REPLAYING_TURN = 0.002, 0.02


#: Seconds between attempts to connect to the broker: the first and the longest pause.
BACKOFF = (0.2, 5.0)


class KombuJobsManager(JobsManager, socketio.KombuManager):
    """Manager for RabbitMQ, the embedded broker, and other brokers on which kombu can fan out."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Without heartbeats: nothing would check them on the publishing connection.
        super().__init__(
            settings.events,
            channel=settings.channel,
            logger=logger,
            connection_options=CONNECTION_OPTIONS,
        )
        self._source: Queue | Stream | None = None
        self._publishing = threading.Lock()

    def _connection(self) -> Connection:
        return connect(self._settings, self.url, **self.connection_options)

    def _publish(self, data: JSONObject) -> None:
        # Two greenlets on one connection would read each other's confirmations.
        with self._publishing:
            super()._publish(identified(data))

    def _producer_publish(self, connection: Connection) -> Callable[[str], object]:
        producer = connection.Producer(exchange=self._exchange())
        publish: Callable[[str], object] = connection.ensure(
            producer, producer.publish, max_retries=1, interval_start=0.2
        )
        return publish

    def _listen(self) -> Iterator[JSONObject]:
        """Yield the messages that python-socketio is to handle."""
        failures = 0
        while True:
            try:
                for message in self._consume():
                    failures = 0
                    if not self._taken(message):
                        yield message.fields
            except Exception as error:  # noqa: BLE001 - whatever the broker's library raises
                if self.alive or not failures:
                    logger.warning(AWAY, refusals.explain_events(error, self._settings))
                self.alive = False
                time.sleep(_delay(failures))
                failures += 1

    def _taken(self, message: Decoded) -> bool:
        """Take a message as python-socketio does, which formats a line for the log of each.

        Returns:
            False if python-socketio is to handle it: it is not ``emit``, or this server's own.
        """
        fields = message.fields
        if fields.get("method") != "emit" or fields.get("host_id") == self.host_id:
            return False
        try:
            self.take(message)
        except Exception:
            logger.exception("taskbridge: a message of the bus could not be handled")
        return True

    def _consume(self) -> Iterator[Decoded]:
        """Yield messages until the connection fails."""
        options = {"heartbeat": HEARTBEAT, "connect_timeout": 2}
        with connect(self._settings, self.url, **options) as connection:
            connection.connect()
            source = self._new_source(connection)
            begun = time.monotonic()
            for message in source.read(connection):
                self.alive = True
                self._note(source)
                # Other greenlets run at intervals, since reads of data that has arrived do not
                # wait. The interval is longer during replay, in which clients are not served yet.
                if time.monotonic() - begun > (TURN if self.ready else REPLAYING_TURN):
                    time.sleep(0)
                    begun = time.monotonic()
                if message is None:
                    continue
                if found := self._decode(message):
                    yield found

    @property
    def replayed(self) -> float:
        """See ``JobsManager``."""
        source = self._source
        if self.ready or not isinstance(source, Stream) or source.first is None:
            return float(self.ready)
        todo = source.tail + 1 - source.first
        return min(1.0, ((source.next or 0) - source.first) / todo) if todo > 0 else 1.0

    @property
    def late(self) -> bool:  # type: ignore[override]
        """See ``JobsManager``."""
        source = self._source
        return not self.ready and isinstance(source, Stream) and bool(source.first)

    @property
    def whole(self) -> bool:  # type: ignore[override]
        """See ``JobsManager``."""
        source = self._source
        if not isinstance(source, Stream):
            return True
        return source.first == 0 or (source.first is None and source.tail < 0)

    @property
    def written(self) -> int | None:  # type: ignore[override]
        """See ``JobsManager``."""
        return self._source.next if isinstance(self._source, Stream) else None

    def _new_source(self, connection: Connection) -> Queue | Stream:
        before = self._source
        if self._has_stream(connection):
            self._source = before if isinstance(before, Stream) else Stream(self._settings)
        else:
            self._source = Queue(f"{self.channel}.{self.host_id}", self._exchange())
        if before is not None and (isinstance(before, Queue) or before is not self._source):
            self._break()  # messages published in between were missed
        return self._source

    def _has_stream(self, connection: Connection) -> bool:
        if not stream.is_amqp(self._settings.events):
            return False
        there = stream.declare(connection, self._exchange(), self._settings)
        if not there and self._source is None:
            logger.warning(
                "taskbridge: this broker keeps no stream; what is published while no server "
                "listens is missed"
            )
        return there

    def _note(self, source: Queue | Stream) -> None:
        """Update ``ready``, and report missed messages, from the state of the source."""
        if isinstance(source, Queue):
            self.ready = True
        else:
            if source.broken:
                source.broken = False
                self._break()
            self.ready = self.ready or source.idle or (source.next or 0) > source.tail

    def _decode(self, message: BusMessage) -> Decoded | None:
        """Return a message's JSON object; None if it has none, which counts as refused."""
        found = decoded(message)
        self.refused += found is None
        return found


def _delay(failures: int) -> float:
    first, longest = BACKOFF
    return min(longest, first * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
