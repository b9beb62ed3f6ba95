"""``Deliveries``: reads whole messages from all bytes that an AMQP connection has received.

py-amqp reads each of a message's three frames in three parts, and decodes all of its properties.
It still gets all other frames, and messages in several body frames.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from amqp.transport import SSLTransport, TCPTransport

from bridge.untyped import AMQPConnection, AMQPMessage

__all__ = ["BusMessage", "Deliveries", "message_of"]

logger = logging.getLogger(__name__)

#: Attributes that are used of py-amqp's transports, and of its connections.
TRANSPORT, CONNECTION = (
    ("_read_buffer", "sock", "having_timeout"),
    ("on_inbound_frame", "bytes_recv"),
)
#: Maximum bytes of one read from the socket.
PIECE = 64 * 1024
#: Type, channel and size of a frame (AMQP 0-9-1, section 2.3.5); class and method, which follow
#: them in a method frame; in a content header, all fields up to the size of the body.
FRAME = Struct(">BHI")
METHOD = Struct(">7xHH")
HEADER = Struct(">BHI4xQ")
METHOD_FRAME, HEADER_FRAME, BODY_FRAME, END = 1, 2, 3, 0xCE
#: Class and method of ``basic.deliver``.
DELIVER = (60, 60)
#: Bytes of a frame without its payload: type, channel, size and end.
AROUND = 8
NUMBER = Struct(">q")
#: Results of ``Deliveries._delivery`` that are not positions.
PARTIAL, FOREIGN = -1, -2
#: Name and type of the header with a message's offset in RabbitMQ's stream, a signed 64-bit number.
OFFSET = b"\x0fx-stream-offsetl"


class BusMessage(NamedTuple):
    """A message of the bus."""

    #: Payload; a string if the broker's library has decoded it.
    body: bytes | str
    #: Offset in the stream; None for a message from a queue.
    offset: int | None
    #: Delivery tag, for the acknowledgement; 0 for a message that needs none.
    tag: int = 0


def message_of(message: AMQPMessage) -> BusMessage:
    """Return a message that py-amqp has read."""
    return BusMessage(message.body, message.headers.get("x-stream-offset"), message.delivery_tag)


class Deliveries:
    """Reads a connection's deliveries on one channel; all other frames go to py-amqp.

    Args:
        connection: connection of py-amqp.
        channel: number of the channel.
        take: called with each delivery.
    """

    def __init__(
        self, connection: AMQPConnection, channel: int, take: Callable[[BusMessage], object]
    ) -> None:
        self._connection, self._channel, self._take = connection, channel, take

    @staticmethod
    def can_read(connection: AMQPConnection) -> bool:
        """Whether a connection has what is used of py-amqp's own transports, TLS included."""
        transport = getattr(connection, "transport", None)
        if not isinstance(transport, TCPTransport | SSLTransport):
            return False
        gone = [name for name in TRANSPORT if not hasattr(transport, name)]
        gone += [name for name in CONNECTION if not hasattr(connection, name)]
        if gone:
            logger.warning("taskbridge: events are read slowly: py-amqp has no %s", ", ".join(gone))
        return not gone

    def read(self, timeout: float) -> None:
        """Parse the frames that were received; if there are none, wait for more.

        Args:
            timeout: maximum wait, in seconds.

        Raises:
            TimeoutError: nothing was received; under eventlet, eventlet's own class.
            OSError: the connection has ended, or the broker sent a malformed frame.
        """
        if self._parse():
            return
        transport = self._connection.transport
        with transport.having_timeout(timeout):
            more = transport.sock.recv(PIECE)
        if not more:
            raise OSError("the broker closed the connection")
        transport._read_buffer = bytes(transport._read_buffer) + more
        self._parse()

    def _parse(self) -> bool:
        """Handle all complete frames in the buffer; return whether there was one."""
        transport = self._connection.transport
        data, begin, found = bytes(transport._read_buffer), 0, False
        while len(data) - begin >= AROUND:
            kind, channel, size = FRAME.unpack_from(data, begin)
            end = begin + AROUND + size
            if end > len(data):
                break
            ours = kind == METHOD_FRAME and channel == self._channel
            after = self._delivery(data, begin, end) if ours else FOREIGN
            if after == PARTIAL:
                break
            found = True
            if after != FOREIGN:
                begin = after
                continue
            if data[end - 1] != END:
                raise OSError("the broker sent what is no frame")
            # py-amqp may read further frames from the buffer while it handles this one.
            transport._read_buffer = data[end:]
            self._connection.on_inbound_frame((kind, channel, data[begin + 7 : end - 1]))
            data, begin = bytes(transport._read_buffer), 0
        transport._read_buffer = data[begin:]
        return found

    def _delivery(self, data: bytes, begin: int, end: int) -> int:
        """Handle a delivery whose method frame begins at ``begin`` and ends at ``end``.

        Returns:
            Position of the end of its last frame; ``PARTIAL`` if it is not complete yet;
            ``FOREIGN`` if py-amqp is to handle the frame: it is no delivery, or one with several
            body frames or with other channels' frames in between.
        """
        if METHOD.unpack_from(data, begin) != DELIVER:
            return FOREIGN
        if len(data) - end < HEADER.size:
            return PARTIAL
        kind, channel, size, length = HEADER.unpack_from(data, end)
        if kind != HEADER_FRAME or channel != self._channel:
            return FOREIGN
        body = end + AROUND + size
        if len(data) - body < FRAME.size:
            return PARTIAL
        if FRAME.unpack_from(data, body) != (BODY_FRAME, self._channel, length):
            return FOREIGN
        after: int = body + AROUND + length
        if after > len(data):
            return PARTIAL
        offsets = data.count(OFFSET, end, body)
        if offsets > 1 or not data[end - 1] == data[body - 1] == data[after - 1] == END:
            return FOREIGN
        (tag,) = NUMBER.unpack_from(data, begin + 12 + data[begin + 11])
        where = data.index(OFFSET, end, body) + len(OFFSET) if offsets else None
        offset = None if where is None else NUMBER.unpack_from(data, where)[0]
        self._connection.bytes_recv += 1  # py-amqp's heartbeat check reads this
        self._take(BusMessage(data[body + 7 : after - 1], offset, tag))
        return after
