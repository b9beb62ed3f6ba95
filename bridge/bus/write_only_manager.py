"""The only place that builds python-socketio's write-only manager."""

from __future__ import annotations

import logging
import socket
import time
from typing import Any, Protocol

import socketio
from amqp import spec
from amqp.exceptions import ChannelError, MessageNacked

from bridge.bus import embedded_transport, stream, tls
from bridge.bus.connection import connect
from bridge.bus.stream import StreamAway
from bridge.settings import Settings

__all__ = ["CONNECTION_OPTIONS", "Writer", "new_writer"]

logger = logging.getLogger(__name__)

#: Bounds on every wait for a broker, in seconds: without them a lost broker blocks a publish for
#: ever (python-socketio's own manager retries without a limit). With them the worst cases measured
#: are 0.2 s for a broker that is down and 7.5 s for a link that swallows packets.
CONNECTION_OPTIONS: dict[str, Any] = {
    "connect_timeout": 2,
    "transport_options": {
        "max_retries": 1,
        "connect_retries_timeout": 1,
        "write_timeout": 2,
        "read_timeout": 2,
        "confirm_publish": True,
    },
}
#: AMQP's reply code of a message that reached no queue.
NO_ROUTE = 312
#: Seconds for which a blocked connection is kept. Nothing is written to it meanwhile, so that a
#: link that is dead would not be noticed.
BLOCKED_PATIENCE = 60.0
#: Seconds that a stream may take to come back after its node has.
STREAM_PATIENCE = 15.0
REDIS_OPTIONS = {"socket_timeout": 2, "socket_connect_timeout": 2}


class Writer(Protocol):
    """A write-only manager whose ``emit`` is bounded in time and raises when it failed."""

    def emit(
        self,
        event: str,
        data: Any,
        namespace: str | None = ...,
        room: str | None = ...,
        skip_sid: str | None = ...,
        id: str | None = ...,
    ) -> None: ...

    def close(self) -> None: ...


class Identifying(socketio.PubSubManager):
    """Gives messages an id, where there is one; python-socketio's own readers ignore it."""

    def emit(
        self,
        event: str,
        data: Any,
        namespace: str | None = None,
        room: str | None = None,
        skip_sid: str | None = None,
        id: str | None = None,
    ) -> None:
        """Publish an event; see python-socketio.

        Args:
            event: its name.
            data: JSON; a tuple is several arguments.
            namespace: default ``/``.
            room: default all clients of the namespace.
            skip_sid: id of a connection that does not get it.
            id: the same each time that this message is published; servers drop copies.
        """
        self._publish(
            {
                "method": "emit",
                "event": event,
                "data": list(data) if isinstance(data, tuple) else [data],
                "binary": False,
                "namespace": namespace or "/",
                "room": room,
                "skip_sid": skip_sid,
                "callback": None,
                "host_id": self.host_id,
                **({"id": id} if id else {}),
            }
        )


class KombuWriter(Identifying, socketio.KombuManager):
    """Stock wire format over kombu; one producer kept, the exchange declared once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: Since when the broker reads nothing from the connection, as it says: it is short of
        #: memory or disk space. What was written is published once it reads again. Monotonic
        #: seconds.
        self._blocked_since: float | None = None
        #: What was written and is not confirmed yet.
        self._unconfirmed: str | None = None
        super().__init__(
            settings.events,
            channel=settings.channel,
            write_only=True,
            logger=logger,
            connection_options=self._options(),
        )
        self._stream_away_since: float | None = None
        #: Whether what is published must reach a stream, and whether there was one before.
        self._streaming = self._had_stream = False
        self.publisher_connection: Any
        self._producer: Any = None

    def _options(self) -> dict[str, Any]:
        if not stream.is_amqp(self._settings.events):
            return CONNECTION_OPTIONS
        heed = {"on_blocked": self._on_blocked, "on_unblocked": self._on_unblocked}
        transport_options = {**CONNECTION_OPTIONS["transport_options"], **heed}
        return {**CONNECTION_OPTIONS, "transport_options": transport_options}

    def _on_blocked(self, reason: str) -> None:
        self._blocked_since = self._blocked_since or time.monotonic()

    def _on_unblocked(self) -> None:
        self._blocked_since = None

    def _is_blocked(self) -> bool:
        since = self._blocked_since
        return since is not None and time.monotonic() - since < BLOCKED_PATIENCE

    def _connection(self) -> Any:
        return connect(self._settings, self.url, **self.connection_options)

    def _publish(self, data: Any) -> None:
        body = self.json.dumps(data)
        try:
            if self._producer is None:
                self._producer = self._connect()
            self._publish_once(body)
            self._stream_away_since = None
        except (TimeoutError, socket.timeout):  # noqa: UP041 - eventlet's is a class of its own
            # The broker has it, and confirms it when it reads again. On another connection it would
            # be published twice, and each attempt would leave a connection behind at the broker.
            if not self._is_blocked():
                self._forget()
            raise
        except ChannelError as error:
            self._forget()
            if error.reply_code != NO_ROUTE:
                raise
            self._note_stream_away(StreamAway("the stream is not bound to the exchange"))
            self._publish(data)
        except Exception:
            self._forget()
            raise

    def _publish_once(self, body: str) -> None:
        """Publish, unless it is what was written before; wait until it is confirmed."""
        if self._unconfirmed is not None:
            replies = [spec.Basic.Ack, spec.Basic.Nack]
            self._producer.channel.wait(replies, callback=_check_confirmed)
            before, self._unconfirmed = self._unconfirmed, None
            if before == body:
                return
        self._unconfirmed = body
        # A broker that has only just started may not have bound the stream yet, and would confirm
        # what it gives to nobody.
        self._producer.publish(body, mandatory=self._streaming)
        self._unconfirmed = None

    def _connect(self) -> Any:
        self._blocked_since = self._unconfirmed = None
        self.publisher_connection.connect()
        self._streaming = stream.is_amqp(self._settings.events) and self._declare_stream()
        return self.publisher_connection.Producer(
            exchange=self._exchange(), auto_declare=not self._streaming
        )

    def _declare_stream(self) -> bool:
        """Return whether there is a stream that what is published must reach."""
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
        """Raise, until that has gone on for too long.

        What is published now would reach only who listens already, so it is worth a wait; not a
        long one, for a node may have lost its stream (seen with RabbitMQ 3.10 killed within a
        second of making it), and those who do listen want to know.

        Raises:
            StreamAway: it is worth a wait.
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
        # kombu forgets a connection to a dead peer without closing its socket.
        dead = self.publisher_connection._connection
        self.publisher_connection.release()
        if hasattr(dead, "collect"):
            dead.collect()

    def _forget(self) -> None:
        # `collect` drops the socket without a goodbye, which would wait for a dead peer.
        self._producer = None
        self._blocked_since = self._unconfirmed = None
        self.publisher_connection.collect()
        self.publisher_connection = self._connection()


def _check_confirmed(method: Any, *_: Any) -> None:
    if method == spec.Basic.Nack:
        raise MessageNacked


class RedisWriter(Identifying, socketio.RedisManager):
    """Stock wire format over Redis, so that a stock ``RedisManager`` server can read it."""

    def __init__(self, settings: Settings) -> None:
        url, options = tls.target(settings, settings.events)
        super().__init__(
            url,
            channel=settings.channel,
            write_only=True,
            logger=logger,
            redis_options={**REDIS_OPTIONS, **(options or {})},
        )

    def _publish(self, data: Any) -> None:
        if not self.connected:
            self._redis_connect()
        self.redis.publish(self.channel, self.json.dumps(data))

    def close(self) -> None:
        """End the connection."""
        if self.redis is not None:
            self.redis.close()


def new_writer(settings: Settings) -> Writer:
    """Return a writer for the settings' broker; nothing is connected yet."""
    embedded_transport.register()
    redis = settings.events.startswith(("redis:", "rediss:"))
    writer: Writer = (RedisWriter if redis else KombuWriter)(settings)
    return writer
