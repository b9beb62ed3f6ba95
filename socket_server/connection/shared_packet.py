"""``Shared``: a packet whose encoded bytes many clients share."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property

from engineio import packet

from socket_server.connection.send_queue import (
    Frame,
    Queued,
)
from socket_server.messages.answer import Answer
from socket_server.messages.server_sent import Translation, translated
from socket_server.messages.websocket_frame import BINARY, frame

__all__ = ["Shared", "framed"]

#: Type of an Engine.IO packet with a message, as text.
MESSAGE = str(packet.MESSAGE)


class Shared(packet.Packet):
    """A message for many clients: one WebSocket frame, whose bytes they share.

    Args:
        text: an encoded Socket.IO packet.
        latest: key; a queued message is replaced by a later one with the same key. None for a
            message that is never replaced.
    """

    packet_type, binary = packet.MESSAGE, False

    def __init__(self, text: str, latest: Hashable = None) -> None:
        self.latest = latest
        payload = (MESSAGE + text).encode()
        #: The encoded frame (RFC 6455, section 5.2).
        self.data = frame(payload)
        self.size = len(self.data)
        self._begin = self.size - len(payload)

    def encode(self, b64: bool = False) -> str | Shared:
        """Return the packet itself for :class:`BoundedWebSocket`; for polling, its text."""
        return self.text if b64 else self

    @property
    def text(self) -> str:
        """The Engine.IO packet."""
        return self.data[self._begin :].decode()

    @cached_property
    def translation(self) -> Translation:
        """The packet as server-sent events; translated at the first use, and once for all."""
        return translated(self.text[1:])


class Framed:
    """A packet for one client, as a WebSocket frame."""

    __slots__ = ("data", "size")

    latest: Hashable = None

    def __init__(self, one: packet.Packet) -> None:
        encoded = one.encode()
        binary = isinstance(encoded, bytes)
        self.data = frame(encoded, BINARY) if binary else frame(encoded.encode())
        self.size = len(self.data)


def framed(one: Queued) -> Frame | Answer | None:
    """Return a packet with its ``data`` as a WebSocket frame; None (end of the queue) unchanged."""
    return one if one is None or isinstance(one, Shared | Framed | Answer) else Framed(one)
