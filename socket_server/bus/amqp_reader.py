"""Reading deliveries off an AMQP connection: a whole message at once, of all that has come.

py-amqp takes nine calls for each frame, of which a message has three, and decodes all of its
properties. What is no delivery, and none that is there as a whole, is left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

from amqp.transport import SSLTransport, TCPTransport

__all__ = ["Deliveries", "Delivery", "delivery_of"]

#: Bytes that are taken from the socket at once.
PIECE = 64 * 1024
#: Type, channel and size of a frame (AMQP 0-9-1, section 2.3.5); what a method's frame has behind
#: them, and what a content header's has, which ends with the size of the body.
FRAME = Struct(">BHI")
METHOD = Struct(">7xHH")
HEADER = Struct(">BHI4xQ")
METHOD_FRAME, HEADER_FRAME, BODY_FRAME, END = 1, 2, 3, 0xCE
#: Class and method of ``basic.deliver``.
DELIVER = (60, 60)
#: Bytes of a frame around its payload.
AROUND = 8
NUMBER = Struct(">q")
PARTIAL, FOREIGN = -1, -2
#: The header in which RabbitMQ says a message's place in its stream, a signed 64-bit number.
OFFSET = b"\x0fx-stream-offsetl"


class Delivery(NamedTuple):
    """A message from the broker."""

    body: bytes
    #: Number on its channel, for the acknowledgement.
    tag: int
    #: Place in the stream; None for what came from a queue.
    offset: int | None


def delivery_of(message: Any) -> Delivery:
    """Return a message that py-amqp has read."""
    return Delivery(message.body, message.delivery_tag, message.headers.get("x-stream-offset"))


class Deliveries:
    """Reads a connection's deliveries on one channel; all else goes to py-amqp.

    Args:
        connection: of py-amqp.
        channel: number of the channel.
        take: called with each delivery.
    """

    def __init__(self, connection: Any, channel: int, take: Callable[[Delivery], Any]) -> None:
        self._connection, self._channel, self._take = connection, channel, take

    @staticmethod
    def can_read(connection: Any) -> bool:
        """Whether a connection's transport is one of py-amqp's own, encrypted or not."""
        transport = getattr(connection, "transport", None)
        return isinstance(transport, TCPTransport | SSLTransport)

    def read(self, timeout: float) -> None:
        """Take in what has come, waiting for so many seconds at most.

        Raises:
            TimeoutError: nothing came; in eventlet, a class of its own.
            OSError: the connection has ended.
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
        """Take in all frames that are there as a whole; return whether there was one."""
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
            # Whatever is done about it may read on, from where py-amqp looks for it.
            transport._read_buffer = data[end:]
            self._connection.on_inbound_frame((kind, channel, data[begin + 7 : end - 1]))
            data, begin = bytes(transport._read_buffer), 0
        transport._read_buffer = data[begin:]
        return found

    def _delivery(self, data: bytes, begin: int, end: int) -> int:
        """Take in a delivery whose first frame is at ``begin`` and ends at ``end``.

        Returns:
            Where its last frame ends; ``PARTIAL`` if not all of it is there; ``FOREIGN`` if it is
            something else, or one for py-amqp: in several parts, with others' frames in between.
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
        self._connection.bytes_recv += 1  # by which py-amqp knows that the broker is alive
        self._take(Delivery(data[body + 7 : after - 1], tag, offset))
        return after
