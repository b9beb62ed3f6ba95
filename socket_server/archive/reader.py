"""``Reader``: reads the bus for the archive, from where its database stopped, on any broker."""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import closing
from threading import Event as Flag
from typing import Any

from kombu import Exchange

from bridge.bus import embedded_transport, refusals, stream, tls
from bridge.bus.connection import Connection, connect
from bridge.bus.write_only_manager import REDIS_OPTIONS
from bridge.settings import Settings
from socket_server.archive.figures import Figures
from socket_server.archive.writer import ArchiveWriter
from socket_server.bus.decoding import decoded, event_in
from socket_server.bus.duplicates import Duplicates
from socket_server.bus.sources import BusMessage, Queue, Stream

__all__ = ["Reader"]

logger = logging.getLogger(__name__)

#: Seconds between AMQP heartbeats.
HEARTBEAT = 5
#: Seconds that Redis is waited for before the archive looks after its batch.
WAIT = 0.25
#: Seconds between attempts to connect to the broker: the first and the longest pause.
BACKOFF = (0.2, 5.0)
#: Seconds within which it is noticed that a connection is dead, on which no message came.
UNNOTICED = 30.0
AWAY = "taskbridge: the broker is away, trying again: %s"
DROPPED = "events are missing: the broker dropped them before the archive read them"
NO_STREAM = "events may be missing: this broker keeps none for an archive that is not connected"


class Reader:
    """Reads until the archive is to stop.

    While the database does not answer, nothing is read: the stream holds the rest.

    Args:
        settings: URL of the broker, and the channel of the shard.
        writer: takes the events.
        figures: counters, which are kept up to date.
        stopping: set when the archive is to stop.
        look: called at least once a second.
        clock: clock in seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        writer: ArchiveWriter,
        figures: Figures,
        stopping: Flag,
        look: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        embedded_transport.register()
        self._settings, self._writer, self._figures = settings, writer, figures
        self._stopping, self._look, self._clock = stopping, look, clock
        self._duplicates = Duplicates()
        self._stream: Stream | None = None
        #: Time up to which all that was published is read, at first when the position was written
        #: that reading begins at; None for never.
        self._since: float | None = None
        #: When what was read last began to be handled.
        self._taken = 0.0

    def run(self) -> None:
        """Read until the archive is to stop, and write what was read.

        Raises:
            Conflict: another archive writes to the database in the name of this channel.
            Stopped: the archive is to stop, and the database does not answer.
        """
        self._since, self._taken = self._writer.begin(), self._clock()
        failures = 0
        while not self._stopping.is_set():
            try:
                with closing(self._messages()) as messages:
                    for message in messages:
                        failures = 0
                        self._take(message)
                        if self._stopping.is_set():
                            break
            except BROKEN as error:
                if self._figures.alive or not failures:
                    logger.warning(AWAY, refusals.explain_events(error, self._settings))
                self._figures.alive = False
                self._figures.interrupt()
                self._stopping.wait(_delay(failures))
                failures += 1
        self._writer.flush()

    def _take(self, message: BusMessage | None) -> None:
        self._figures.alive = True
        before, self._taken = self._taken, self._clock()
        if self._stream is not None and self._stream.broken:
            self._stream.broken = False
            self._writer.note_gap(self._since, DROPPED)
        if message is None:
            # What the stream says is older than all that the calls below may wait for.
            self._figures.idle = self._stream is None or self._stream.idle
            self._writer.look()
            self._look()
            if self._figures.idle:
                # The database may have been waited for since, without a look at the connection.
                self._note_read(before - UNNOTICED)
            return
        after = max(self._writer.next, 0) + 1 if message.offset is None else message.offset + 1
        found = decoded(message)
        event = None if found is None else event_in(found)
        if event is not None and not self._duplicates.is_new(found and found.fields.get("id")):
            event = None
        elif found is None:
            self._figures.refused += 1
        self._writer.take(event, after)
        if event is not None:
            # A worker's clock may be wrong.
            self._note_read(min(event.at, self._clock()))

    def _note_read(self, until: float) -> None:
        """Note that all is read that was published until a time, from which a gap may begin."""
        self._since = until if self._since is None else max(self._since, until)

    def _messages(self) -> Generator[BusMessage | None]:
        """Yield messages until the connection fails, and None at least once a second."""
        if self._settings.events.startswith(("redis:", "rediss:")):
            yield from self._redis_messages()
            return
        options = {"heartbeat": HEARTBEAT, "connect_timeout": 2}
        with connect(self._settings, self._settings.events, **options) as connection:
            connection.connect()
            yield from self._source(connection).read(connection)

    def _source(self, connection: Connection) -> Queue | Stream:
        exchange = Exchange(self._settings.channel, type="fanout", durable=False)
        amqp = stream.is_amqp(self._settings.events)
        if amqp and stream.declare(connection, exchange, self._settings):
            if self._stream is None:
                self._stream = Stream(self._settings)
                self._stream.next = None if self._writer.next < 0 else self._writer.next
            # The last connection's: what was published since is not read.
            self._stream.idle = False
            return self._stream
        self._begin_without_stream()
        return Queue(f"{self._settings.channel}.archive.{uuid.uuid4().hex}", exchange)

    def _redis_messages(self) -> Generator[BusMessage | None]:
        import redis

        url, options = tls.target(self._settings, self._settings.events)
        client: Any = redis.Redis.from_url(url, **{**REDIS_OPTIONS, **(options or {})})
        with client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
            pubsub.subscribe(self._settings.channel)
            self._begin_without_stream()
            while True:
                yield None
                message = pubsub.get_message(timeout=WAIT)
                while message is not None:
                    yield BusMessage(message["data"], None)
                    message = pubsub.get_message()

    def _begin_without_stream(self) -> None:
        """Note that events may have been missed since the archive last was connected."""
        if self._since is not None or self._writer.next > 0:
            self._writer.note_gap(self._since, NO_STREAM)
        else:
            logger.warning("taskbridge: %s", NO_STREAM)


#: What a broker's library raises; errors of the database and of the archive itself are not meant.
def _errors() -> tuple[type[Exception], ...]:
    import amqp
    import kombu.exceptions

    found: tuple[type[Exception], ...] = (OSError, amqp.AMQPError, kombu.exceptions.KombuError)
    try:
        import redis
    except ImportError:
        return found
    return (*found, redis.RedisError)


BROKEN = _errors()


def _delay(failures: int) -> float:
    first, longest = BACKOFF
    return min(longest, first * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
