"""Reading the bus: from RabbitMQ's stream with its offsets, elsewhere from a queue of one's own."""

from __future__ import annotations

import math
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import kombu
from amqp.transport import TCPTransport

from bridge.bus import stream
from bridge.settings import Settings
from socket_server.bus.amqp_reader import Deliveries, Delivery, delivery_of

__all__ = ["BusMessage", "Queue", "Stream"]

#: Messages that the broker sends ahead of their acknowledgement; one is for half of them.
PREFETCH = 500
#: Messages, and bytes of them, that the broker keeps for a server that is behind before it drops
#: the oldest.
MAX_QUEUE, MAX_QUEUE_BYTES = 100_000, 64 * 1024 * 1024
#: Seconds that are waited for a message before the heart is beaten.
WAIT = 1.0
#: Seconds that an empty stream is given to show a last message.
LAST = 0.5
#: Seconds that a stream which is not empty is given to show its first message.
SLOW = 5.0
#: Bytes that are taken from the socket at a time. py-amqp asks for each part of each frame, nine
#: calls a message; with much more than this it would copy what is left after each part too often.
READ_AHEAD = 8192
#: Messages that are taken in before they are handled.
BATCH = 50


class BusMessage(NamedTuple):
    """What came over the bus."""

    body: bytes
    #: Place in the stream; None for what came from a queue.
    offset: int | None


class Queue:
    """A queue of this server's alone: what is published while it is not there is missed.

    Args:
        name: of the queue.
        exchange: what it is bound to.
    """

    def __init__(self, name: str, exchange: kombu.Exchange) -> None:
        # Exclusive: RabbitMQ 4.3 refuses transient queues that are not.
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

    def read(self, connection: Any) -> Iterator[BusMessage | None]:
        """Yield messages until the connection fails; None whenever there is none for a while."""
        inbox: deque[bytes] = deque()
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
    """The channel's stream, from some time ago on; after a reconnect, from the next message on.

    Args:
        settings: which stream, and how far back it is read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = stream.name_of(settings.channel)
        #: Offset of the message to be read next; None before the first.
        self.next: int | None = None
        #: Offset of the first message that was read; None before it.
        self.first: int | None = None
        #: Offset at which the reader has caught up with what was there when it began.
        self.tail = -1
        #: Whether the broker had nothing more to send for a while.
        self.idle = False
        #: Whether messages were missed: the stream forgot them, or is another one.
        self.broken = False

    def read(self, connection: Any) -> Iterator[BusMessage | None]:
        """Yield messages until the connection fails; None whenever there is none for a while."""
        self.tail = self._last(connection)
        if self.next is not None and self.tail < self.next - 1:
            # Another stream of the same name: what was to be read next is far in its future.
            self.next, self.broken = None, True
        inbox: deque[Delivery] = deque()
        read_ahead(connection)
        channel = connection.channel()
        channel.basic_qos(0, PREFETCH, False)
        channel.basic_consume(
            self._name,
            callback=lambda message: inbox.append(delivery_of(message)),
            arguments=self._start(),
        )
        read = self._reader(connection, channel, inbox)
        while True:
            yield None
            self.idle = not read() and not inbox
            while inbox:
                delivery = inbox.popleft()
                yield from self._take(connection, delivery)
                if delivery.tag % (PREFETCH // 2) == 0:
                    channel.basic_ack(delivery.tag, multiple=True)

    def _reader(self, connection: Any, channel: Any, inbox: deque[Delivery]) -> Callable[[], bool]:
        """Return what puts deliveries into the inbox, and returns whether something had come."""
        amqp = connection.connection
        if not (self._settings.fast_path and Deliveries.can_read(amqp)):
            return lambda: drain(connection)
        deliveries = Deliveries(amqp, channel.channel_id, inbox.append)
        return lambda: beating(connection, lambda: deliveries.read(WAIT))

    def _take(self, connection: Any, delivery: Delivery) -> Iterator[BusMessage]:
        offset = delivery.offset
        assert offset is not None, "a stream's messages have offsets"
        if self.next is not None and offset < self.next:
            return  # a stream is read from the chunk on that has what was asked for
        if self.next is not None and offset > self.next:
            self.broken = self.broken or self._forgot(connection)
        self.next = offset + 1
        self.first = offset if self.first is None else self.first
        yield BusMessage(delivery.body, offset)

    def _forgot(self, connection: Any) -> bool:
        """Whether the stream may have forgotten messages before they were read.

        An offset that is passed over says nothing: the broker keeps records of its own in a stream,
        one at the beginning of each of its files. But it forgets from the beginning on, so if a
        message that was read is still there, then so is all that came after it.
        """
        assert self.next is not None
        first = self.oldest(connection)
        return first < 0 or first >= self.next

    def oldest(self, connection: Any) -> int:
        """Return the offset of the oldest message that the stream has; -1 if it is empty."""
        return self._look(connection, "first", 1, SLOW, lambda found: True)

    def _start(self) -> dict[str, Any]:
        if self.next is not None:
            return {"x-stream-offset": self.next}
        # An interval, so that it is the broker's own clock that tells what lies so far back.
        return {"x-stream-offset": f"{math.ceil(self._settings.replay)}s"}

    def _last(self, connection: Any) -> int:
        """Return an offset near the stream's end, and not before ``next``; -1 if it is empty."""
        wanted = 0 if self.next is None else self.next - 1
        return self._look(connection, "last", PREFETCH, LAST, lambda found: found >= wanted)

    def _look(
        self,
        connection: Any,
        where: str,
        ahead: int,
        patience: float,
        enough: Callable[[int], bool],
    ) -> int:
        """Return the offset of a message at one end of the stream; -1 if there is none.

        Args:
            connection: to the broker.
            where: ``first``, or ``last``, from which on it is read a little.
            ahead: messages that the broker may send ahead.
            patience: seconds that are waited for one, or for another.
            enough: whether an offset need not be followed by another.
        """
        found: list[int] = []
        channel = connection.channel()
        channel.basic_qos(0, ahead, False)

        def take(message: Any) -> None:
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


def drain(connection: Any, timeout: float = WAIT) -> bool:
    """Read what has come, waiting for so many seconds at most; return whether something had."""
    return beating(connection, lambda: _drain(connection, timeout))


def _drain(connection: Any, timeout: float) -> None:
    transport = getattr(connection.connection, "transport", None)
    connection.drain_events(timeout=timeout)
    for _ in range(BATCH):
        if not getattr(transport, "_read_buffer", None):
            break
        connection.drain_events(timeout=timeout)


def beating(connection: Any, read: Callable[[], None]) -> bool:
    """Read, and beat the heart; return whether something had come."""
    came = True
    try:
        read()
    except TimeoutError:
        came = False
    except socket.timeout:  # noqa: UP041 - eventlet raises a class of its own
        came = False
    connection.heartbeat_check()
    return came


def read_ahead(connection: Any) -> None:
    """Let py-amqp take more from its socket than the few bytes that it needs next."""
    transport = getattr(connection.connection, "transport", None)
    # Not where it is encrypted: that transport asks for nothing that was not sent.
    if isinstance(transport, TCPTransport):
        receive = transport.sock.recv
        transport._quick_recv = lambda wanted: receive(max(wanted, READ_AHEAD))
