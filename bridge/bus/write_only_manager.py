"""Writers: python-socketio's write-only managers over kombu and Redis, bounded in time."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypedDict

import socketio
from amqp.exceptions import ChannelError, MessageNacked

from bridge.bus import embedded_transport, stream, tls
from bridge.bus.connection import Connection, connect
from bridge.bus.stream import StreamAway
from bridge.protocol.json_types import JSONObject
from bridge.settings import Settings
from bridge.untyped import KombuProducer

__all__ = ["CONNECTION_OPTIONS", "Emission", "WriteOnlyManager", "new_write_only_manager"]

logger = logging.getLogger(__name__)


class ConnectionOptions(TypedDict):
    """Options of ``kombu.Connection``."""

    connect_timeout: int
    #: By transport; for AMQP, functions too.
    transport_options: dict[str, object]


#: Limits of every wait for a broker, in seconds: without them a lost broker blocks a publish for
#: ever (python-socketio's own manager retries without a limit). With them the worst cases measured
#: are 0.2 s for a broker that is down and 7.5 s for a link that swallows packets.
CONNECTION_OPTIONS: ConnectionOptions = {
    "connect_timeout": 2,
    "transport_options": {
        "max_retries": 1,
        "connect_retries_timeout": 1,
        "write_timeout": 2,
        "read_timeout": 2,
        "confirm_publish": True,
    },
}
#: Characters of messages that are written before their confirms are awaited: with more, a slow link
#: would take longer than ``read_timeout`` for what waits in the socket's own buffer.
UNCONFIRMED = 64 * 1024
#: AMQP's reply code of a message that reached no queue.
NO_ROUTE = 312
#: Seconds for which a connection that the broker has blocked is kept. Nothing is written to it
#: meanwhile, so that a dead link would not be noticed.
BLOCKED_PATIENCE = 60.0
#: Seconds to wait for a stream that is away; after that, messages are published without it.
STREAM_PATIENCE = 15.0
REDIS_OPTIONS = {"socket_timeout": 2, "socket_connect_timeout": 2}


class Emission(NamedTuple):
    """A message to clients."""

    event: str
    #: JSON; a tuple is several arguments.
    data: object
    namespace: str | None = None
    #: None for all clients of the namespace.
    room: str | None = None
    #: Id of a connection that does not get it.
    skip_sid: str | None = None
    #: Id of the message, the same if it is published again; servers drop copies.
    id: str | None = None

    def wire(self, host_id: str) -> JSONObject:
        """Return it as python-socketio's own managers read it, which ignore its id."""
        return {
            "method": "emit",
            "event": self.event,
            "data": list(self.data) if isinstance(self.data, tuple) else [self.data],
            "binary": False,
            "namespace": self.namespace or "/",
            "room": self.room,
            "skip_sid": self.skip_sid,
            "callback": None,
            "host_id": host_id,
            **({"id": self.id} if self.id else {}),
        }


class WriteOnlyManager(Protocol):
    """A write-only manager whose ``emit`` is bounded in time and raises an error if it fails."""

    def emit(
        self,
        event: str,
        data: object,
        namespace: str | None = ...,
        room: str | None = ...,
        skip_sid: str | None = ...,
        id: str | None = ...,
    ) -> None: ...

    def emit_all(self, emissions: Iterable[Emission]) -> None: ...

    def close(self) -> None: ...


class Identifying(socketio.PubSubManager):
    """Adds an id to messages, if one is given, and publishes several at once."""

    def emit(
        self,
        event: str,
        data: object,
        namespace: str | None = None,
        room: str | None = None,
        skip_sid: str | None = None,
        id: str | None = None,
    ) -> None:
        """Publish an event; see :class:`Emission` for the arguments."""
        self.emit_all([Emission(event, data, namespace, room, skip_sid, id)])

    def emit_all(self, emissions: Iterable[Emission]) -> None:
        """Publish events in their order; if it raises, some or all may have been published."""
        self._publish_all([self.json.dumps(one.wire(self.host_id)) for one in emissions])

    def _publish_all(self, bodies: list[str]) -> None:
        raise NotImplementedError


class KombuWriteOnlyManager(Identifying, socketio.KombuManager):
    """Publishes python-socketio's wire format over kombu, with one producer per connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: When the broker blocked the connection, for lack of memory or disk space, in monotonic
        #: seconds; None if it is not blocked. The broker reads what was written once it unblocks.
        self._blocked_since: float | None = None
        asked = bool(CONNECTION_OPTIONS["transport_options"]["confirm_publish"])
        self._confirms = asked and stream.is_amqp(settings.events)
        #: Messages that this connection has written since all of them were confirmed.
        self._written: list[str] = []
        #: Delivery tags of those that are not confirmed, and the tag of the last one.
        self._unconfirmed: set[int] = set()
        self._tag = 0
        super().__init__(
            settings.events,
            channel=settings.channel,
            write_only=True,
            logger=logger,
            connection_options=self._options(),
        )
        self._stream_away_since: float | None = None
        #: Whether messages must reach a stream, and whether there was a stream before.
        self._streaming = self._had_stream = False
        self.publisher_connection: Connection
        #: None while there is no connection.
        self._producer: KombuProducer = None

    def _options(self) -> ConnectionOptions:
        if not stream.is_amqp(self._settings.events):
            return CONNECTION_OPTIONS
        heed = {"on_blocked": self._on_blocked, "on_unblocked": self._on_unblocked}
        # py-amqp would await the confirm of each message before the next is written.
        options = {**CONNECTION_OPTIONS["transport_options"], **heed, "confirm_publish": False}
        return {**CONNECTION_OPTIONS, "transport_options": options}

    def _on_blocked(self, reason: str) -> None:
        self._blocked_since = self._blocked_since or time.monotonic()

    def _on_unblocked(self) -> None:
        self._blocked_since = None

    def _is_blocked(self) -> bool:
        since = self._blocked_since
        return since is not None and time.monotonic() - since < BLOCKED_PATIENCE

    def _connection(self) -> Connection:
        return connect(self._settings, self.url, **self.connection_options)

    def _publish_all(self, bodies: list[str]) -> None:
        try:
            if self._producer is None:
                self._producer = self._connect()
            self._publish_once(bodies)
            self._stream_away_since = None
        except (TimeoutError, socket.timeout):  # noqa: UP041 - eventlet's is a class of its own
            # A broker that blocks the connection has the messages, and confirms them later. On
            # another connection they would be published twice, and each attempt would leave a
            # connection behind at the broker.
            if not self._is_blocked():
                self._forget()
            raise
        except ChannelError as error:
            self._forget()
            if error.reply_code != NO_ROUTE:
                raise
            self._note_stream_away(StreamAway("the stream is not bound to the exchange"))
            self._publish_all(bodies)
        except Exception:
            self._forget()
            raise

    def _publish_once(self, bodies: list[str]) -> None:
        """Publish messages, but those that an attempt before has written; await all confirms."""
        self._await_confirms()
        before, length = set(self._written), 0
        for body in bodies:
            if body in before:
                continue
            self._written.append(body)
            self._write(body)
            if (length := length + len(body)) > UNCONFIRMED:
                self._await_confirms()
                length = 0
        self._await_confirms()
        self._written.clear()

    def _write(self, body: str) -> None:
        if self._confirms:
            self._tag += 1
            self._unconfirmed.add(self._tag)
        # A broker that has just started may not have bound the stream yet; without `mandatory` it
        # would confirm messages that it drops.
        self._producer.publish(body, mandatory=self._streaming)

    def _await_confirms(self) -> None:
        while self._unconfirmed:
            self.publisher_connection.drain_events()

    def _note_confirm(self, tag: int, multiple: bool) -> None:
        confirmed = {one for one in self._unconfirmed if one <= tag} if multiple else {tag}
        self._unconfirmed -= confirmed

    def _connect(self) -> KombuProducer:
        self._blocked_since = None
        self.publisher_connection.connect()
        self._streaming = stream.is_amqp(self._settings.events) and self._declare_stream()
        producer = self.publisher_connection.Producer(
            exchange=self._exchange(), auto_declare=not self._streaming
        )
        if self._confirms:
            channel = producer.channel
            channel.confirm_select()
            channel.events["basic_ack"].add(self._note_confirm)
            channel.events["basic_nack"].add(_refuse)
        return producer

    def _declare_stream(self) -> bool:
        """Declare the stream; return whether messages must reach it."""
        try:
            there = stream.declare(self.publisher_connection, self._exchange(), self._settings)
        except StreamAway as error:
            self._note_stream_away(error)
            return False
        if self._had_stream and not there:
            self._note_stream_away(StreamAway("the stream that was there is not"))
        self._had_stream = there
        return there and not self._is_stream_given_up()

    def _note_stream_away(self, error: StreamAway) -> None:
        """Raise the error; once the stream was away for ``STREAM_PATIENCE`` seconds, only log it.

        Without the stream, messages reach only the servers that listen now, so the sender waits.
        It does not wait for ever: a node may have lost its stream (seen with RabbitMQ 3.10 killed
        within a second of creating it), and the servers that listen need the messages.

        Raises:
            StreamAway: the stream may still come back.
        """
        self._stream_away_since = self._stream_away_since or time.monotonic()
        if not self._is_stream_given_up():
            raise error
        logger.warning("taskbridge: events are published without a stream: %s", error)

    def _is_stream_given_up(self) -> bool:
        since = self._stream_away_since
        return since is not None and time.monotonic() - since >= STREAM_PATIENCE

    def close(self) -> None:
        """End the connection."""
        # kombu releases a connection to a dead peer without closing its socket.
        dead = self.publisher_connection._connection
        self.publisher_connection.release()
        if hasattr(dead, "collect"):
            dead.collect()

    def _forget(self) -> None:
        # `collect` drops the socket without AMQP's close, which would wait for a dead peer.
        self._producer = None
        self._blocked_since = None
        self._written.clear()
        self._unconfirmed.clear()
        self._tag = 0
        self.publisher_connection.collect()
        self.publisher_connection = self._connection()


def _refuse(tag: int, multiple: bool) -> None:
    raise MessageNacked


class RedisWriteOnlyManager(Identifying, socketio.RedisManager):
    """Publishes python-socketio's wire format over Redis, as its own ``RedisManager`` reads it."""

    def __init__(self, settings: Settings) -> None:
        url, options = tls.target(settings, settings.events)
        super().__init__(
            url,
            channel=settings.channel,
            write_only=True,
            logger=logger,
            redis_options={**REDIS_OPTIONS, **(options or {})},
        )

    def _publish_all(self, bodies: list[str]) -> None:
        if not self.connected:
            self._redis_connect()
        for body in bodies:
            self.redis.publish(self.channel, body)

    def close(self) -> None:
        """End the connection."""
        if self.redis is not None:
            self.redis.close()


def new_write_only_manager(settings: Settings) -> WriteOnlyManager:
    """Return a writer for the broker of events; it connects when it is first used."""
    embedded_transport.register()
    redis = settings.events.startswith(("redis:", "rediss:"))
    writer: WriteOnlyManager = (RedisWriteOnlyManager if redis else KombuWriteOnlyManager)(settings)
    return writer
