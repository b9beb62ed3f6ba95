"""Checks of Engine.IO packets before they are decoded."""

from __future__ import annotations

__all__ = ["SEPARATOR", "are_packets", "is_packet"]

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
