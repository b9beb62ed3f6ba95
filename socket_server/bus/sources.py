"""Readers of the bus: RabbitMQ's stream, and elsewhere a queue for each server."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator

import kombu
from amqp.transport import TCPTransport

from bridge.bus import stream
from bridge.bus.connection import Connection
from bridge.settings import Settings
from bridge.untyped import AMQPChannel, AMQPMessage
from socket_server.bus.amqp_reader import BusMessage, Deliveries, message_of
from socket_server.bus.gathering import Gathering

__all__ = ["BusMessage", "Queue", "Stream"]

#: Maximum unacknowledged messages that the broker sends; each half of them is acknowledged at once.
PREFETCH = 500
#: Maximum messages, and bytes, in a queue for a server that is behind; the broker drops the oldest.
MAX_QUEUE, MAX_QUEUE_BYTES = 100_000, 64 * 1024 * 1024
#: Maximum seconds to wait for a message before heartbeats are checked.
WAIT = 1.0
#: Maximum seconds to wait for a message at the end of the stream, which may be empty.
LAST = 0.5
#: Maximum seconds to wait for the first message of a stream.
SLOW = 5.0
#: Bytes of one read from the socket. py-amqp reads each part of each frame by itself, nine reads a
#: message; it copies the rest of its buffer after each part, so a much larger buffer costs time.
READ_AHEAD = 8192
#: Maximum messages that are read in a row before they are handled.
BATCH = 50


class Queue:
    """An exclusive queue of this server: messages published while it does not exist are missed.

    Args:
        name: name of the queue.
        exchange: exchange to which it is bound.
    """

    def __init__(self, name: str, exchange: kombu.Exchange) -> None:
        # RabbitMQ 4.3 refuses transient queues that are not exclusive.
        arguments = {
            "x-max-length": MAX_QUEUE,
            "x-max-length-bytes": MAX_QUEUE_BYTES,
            "x-overflow": "drop-head",
        }
        self._queue = kombu.Queue(
            name,
            exchange,
            durable=False,
            exclusive=True,
            auto_delete=True,
            queue_arguments=arguments,
        )

    def read(self, connection: Connection) -> Iterator[BusMessage | None]:
        """Yield messages until the connection fails, and None before each read of it."""
        inbox: deque[bytes | str] = deque()
        consumer = kombu.Consumer(
            connection.default_channel,
            queues=[self._queue],
            on_message=lambda message: inbox.append(message.body),
            no_ack=True,
        )
        with consumer:
            while True:
                yield None
                drain(connection)
                while inbox:
                    yield BusMessage(inbox.popleft(), None)


class Stream:
    """Reads the channel's stream, at first ``settings.replay`` seconds back.

    After a reconnect it reads on from the next message.

    Args:
        settings: channel, and seconds to replay.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = stream.name_of(settings.channel)
        #: Offset of the next message to be read; None before the first.
        self.next: int | None = None
        #: Offset of the first message that was read; None before that.
        self.first: int | None = None
        #: Offset near the stream's end when reading began; -1 if it was empty.
        self.tail = -1
        #: Whether the last read of this connection timed out without a message.
        self.idle = False
        #: Whether messages were missed: the stream dropped them, or was replaced by another one.
        self.broken = False

    def read(self, connection: Connection) -> Iterator[BusMessage | None]:
        """Yield messages until the connection fails, and None before each read of it."""
        self.idle = False
        self.tail = self._last(connection)
        if self.next is not None and self.tail < self.next - 1:
            # A new stream of the same name, which has not reached the next offset yet.
            self.next, self.broken = None, True
        inbox: deque[BusMessage] = deque()
        read_ahead(connection)
        channel = connection.channel()
        channel.basic_qos(0, PREFETCH, False)
        channel.basic_consume(
            self._name,
            callback=lambda message: inbox.append(message_of(message)),
            arguments=self._start(),
        )
        read = self._reader(connection, channel, inbox)
        gathering = Gathering(self._settings.gather)
        while True:
            yield None
            if (pause := gathering.pause) > 0:
                time.sleep(pause)
            self.idle = not read() and not inbox
            gathering.note(len(inbox))
            while inbox:
                message = inbox.popleft()
                if self._is_new(message, connection):
                    yield message
                if message.tag % (PREFETCH // 2) == 0:
                    channel.basic_ack(message.tag, multiple=True)

    def _reader(
        self, connection: Connection, channel: AMQPChannel, inbox: deque[BusMessage]
    ) -> Callable[[], bool]:
        """Return a function that reads into the inbox, and returns whether data was received."""
        amqp = connection.connection
        if not (self._settings.fast_path and Deliveries.can_read(amqp)):
            return lambda: drain(connection)
        deliveries = Deliveries(amqp, channel.channel_id, inbox.append)
        return lambda: beating(connection, lambda: deliveries.read(WAIT))

    def _is_new(self, message: BusMessage, connection: Connection) -> bool:
        """Note the offset of a message; return whether the message was not read before."""
        offset = message.offset
        assert offset is not None, "a stream's messages have offsets"
        if self.next is not None and offset < self.next:
            return False  # the broker sends whole chunks: also messages before the requested offset
        if self.next is not None and offset > self.next:
            self.broken = self.broken or self._forgot(connection)
        self.next = offset + 1
        self.first = offset if self.first is None else self.first
        return True

    def _forgot(self, connection: Connection) -> bool:
        """Whether the stream may have dropped messages before they were read.

        A gap in the offsets alone proves nothing: the broker keeps records of its own in a stream,
        one at the beginning of each of its files. It drops messages from the beginning on, so if a
        message that was read is still there, all later ones are.
        """
        assert self.next is not None
        first = self.oldest(connection)
        return first < 0 or first >= self.next

    def oldest(self, connection: Connection) -> int:
        """Return the offset of the oldest message that the stream has; -1 if it is empty."""
        return self._look(connection, "first", 1, SLOW, lambda found: True)

    def _start(self) -> dict[str, str | int]:
        if self.next is not None:
            return {"x-stream-offset": self.next}
        # An interval, not a time, so that only the broker's own clock counts.
        return {"x-stream-offset": f"{math.ceil(self._settings.replay)}s"}

    def _last(self, connection: Connection) -> int:
        """Return an offset near the stream's end; -1 if the stream is empty.

        It is less than ``next - 1`` only if the stream ends before that.
        """
        wanted = 0 if self.next is None else self.next - 1
        return self._look(connection, "last", PREFETCH, LAST, lambda found: found >= wanted)

    def _look(
        self,
        connection: Connection,
        where: str,
        ahead: int,
        patience: float,
        enough: Callable[[int], bool],
    ) -> int:
        """Return the offset of a message at one end of the stream; -1 if there is none.

        Args:
            connection: connection to the broker.
            where: ``first``, or ``last`` for the last chunk, whose messages are read in order.
            ahead: maximum unacknowledged messages.
            patience: maximum seconds to wait for each message.
            enough: whether to stop at an offset.
        """
        found: list[int] = []
        channel = connection.channel()
        channel.basic_qos(0, ahead, False)

        def take(message: AMQPMessage) -> None:
            found.append(message.headers["x-stream-offset"])
            channel.basic_ack(message.delivery_tag)

        tag = channel.basic_consume(self._name, callback=take, arguments={"x-stream-offset": where})
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not (found and enough(found[-1])):
            seen = len(found)
            drain(connection, LAST / 5)
            if len(found) > seen:
                deadline = time.monotonic() + patience
        channel.basic_cancel(tag)
        channel.close()
        return found[-1] if found else -1


def drain(connection: Connection, timeout: float = WAIT) -> bool:
    """Read through kombu; return whether there was anything within ``timeout`` seconds."""
    return beating(connection, lambda: _drain(connection, timeout))


def _drain(connection: Connection, timeout: float) -> None:
    transport = getattr(connection.connection, "transport", None)
    connection.drain_events(timeout=timeout)
    for _ in range(BATCH):
        if not getattr(transport, "_read_buffer", None):
            break
        connection.drain_events(timeout=timeout)


def beating(connection: Connection, read: Callable[[], None]) -> bool:
    """Call ``read``, then check heartbeats; return False if ``read`` timed out."""
    came = True
    try:
        read()
    except TimeoutError:
        came = False
    except socket.timeout:  # noqa: UP041 - eventlet raises a class of its own
        came = False
    connection.heartbeat_check()
    return came


def read_ahead(connection: Connection) -> None:
    """Let py-amqp read more from a socket without TLS than the few bytes that it needs next."""
    transport = getattr(connection.connection, "transport", None)
    if isinstance(transport, TCPTransport):
        receive = transport.sock.recv
        transport._quick_recv = lambda wanted: receive(max(wanted, READ_AHEAD))
