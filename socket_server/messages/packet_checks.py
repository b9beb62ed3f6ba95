"""Checks of Engine.IO packets before they are decoded, and the unmasking of WebSocket frames."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SEPARATOR", "are_packets", "is_packet", "unmask"]

#: Longest Engine.IO packet that is not a message, in characters: "2probe".
SHORT = 6


#: Separator of the packets in one polling request, and how many of them python-engineio accepts.
SEPARATOR, MOST_PACKETS = "\x1e", 16


def is_packet(message: str | bytes) -> bool:
    """Whether a WebSocket message has the form of an Engine.IO, and then a Socket.IO, packet.

    On another one, python-engineio raises an error that does not end the connection.
    """
    if isinstance(message, bytes):
        return True  # an attachment; the Socket.IO server checks whether one is allowed
    kind, second = message[:1], message[1:2]
    if kind == "4":
        return second != "" and second in "0123456"
    return kind != "" and kind in "01235" and len(message) <= SHORT and second not in ("[", "{")


def are_packets(body: bytes) -> bool:
    """Whether the body of a polling request consists of readable packets, and not too many."""
    try:
        packets = body.decode().split(SEPARATOR)
    except UnicodeDecodeError:
        return False
    return len(packets) <= MOST_PACKETS and all(is_packet(one) for one in packets)


def unmask(data: bytes, mask: Sequence[int], length: int | None = None, offset: int = 0) -> bytes:
    """Undo a WebSocket frame's masking (RFC 6455, section 5.3), all bytes in one operation.

    eventlet's own loop takes a microsecond for every few bytes, and blocks all other clients.

    Args:
        data: masked bytes.
        mask: the four bytes of the masking key.
        length: bytes of ``data`` to unmask; default all.
        offset: offset of ``data`` in the frame's payload, in bytes.
    """
    length = len(data) if length is None else length
    turned = bytes(mask[(offset + place) % 4] for place in range(4))
    key = (turned * (length // 4 + 1))[:length]
    return (int.from_bytes(data[:length]) ^ int.from_bytes(key)).to_bytes(length)
